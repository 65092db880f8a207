"""Keys, identities and the one canonical form of a signature."""

from hashlib import sha3_256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from colonies.core.envelope import pack
from colonies.core.errors import BadSignature, Malformed
from colonies.core.identity import PrivateKey, recover, sha3

N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

SERVER = "fcc79953d8a751bf41db661592dc34d30004b1a651ffa0725b03ac227641499d"
COLONY_ID = "4787a5071856a4acf702b2ffcea422e3237a679c681314113d86139461290cf4"
RUNTIME = "ddf7f7791208083b6a9ed975a72684f6406a269cfa36f1b1c32045c0a71fff05"
UNIT_TEST = "6d2fb6f546bacfd98c68769e61e0b44a697a30596c018a50e28200aa59b01c0a"
INTEROP = "d6eb959e9aec2e6fdc44b5862b269e987b8a4d6f2baca542d8acaa97ee5e74f6"

IDS = {
    SERVER: "039231c7644e04b6895471dd5335cf332681c54e27f81fac54f9067b3f2c0103",
    "ba949fa134981372d6da62b6a56f336ab4d843b22c02a4257dcf7d0d73097514": COLONY_ID,
    RUNTIME: "3fc05cf3df4b494e95d6a3d297a34f19938f7daa7422ab0d4f794454133341ac",
    UNIT_TEST: "4fef2b5a82d134d058c1883c72d6d9caf77cd59ca82d73105017590dea3dcb87",
    INTEROP: "5d6568f883451ae2e407d1a0a7992e414f2a67b69d0e6e9176d353b98f06f696",
    "09545df1812e252a2a853cca29d7eace4a3fe2baad334e3b7141a98d43c31e7b": (
        "9289dfccedf27392810b96968535530bb69f90afe7c35738e0e627f3810d943e"
    ),
    "869e3a565bf7ac36b716073398eec8e7563f7800fcf555ce1a3922b6c01d115c": (
        "71d5da957ae22ec47c8a3d458ab91a596089a8a043fcd646228c03c7a892fe34"
    ),
    f"{1:064x}": "2036f5bc759cfb3589fb4e2342bc9b3c843c5ef27dc8ded538de328a7567089b",
}

V2_TEXT = "eyJtc2d0eXBlIjoiZ2V0Y29sb25pZXNtc2cifQ=="
V3_TEXT = pack(
    {"colonyid": COLONY_ID, "latest": False, "timeout": -1, "msgtype": "assignprocessmsg"}
)
V1 = (
    "887d6a2291487951e99ea07c3a15a37e29971856c85ff732d8d6cd087c525a5a"
    "1019ef841dc4880f8a592e5d45cbddfcd94b3ca2c9651b4c990f2b959793adc701"
)
V2 = (
    "3cf5209e35d24048f67652cb354ded5bed0d56bdce9cab433646942a47760353"
    "283e65a2cb764e22d9efa37e67a9ba485ade029f1405e5eed13365a82250a87300"
)
V3 = (
    "f012bd2ec4f64a5e7e23c9e9fc66b7959427a43170ecb2bebb81601ddc8b8299"
    "52775b79d9815fcfb35146390a2df416de592f6d44f09be8797f349f4198b0f700"
)
V4 = (
    "e713a1bb015fecabb5a084b0fe6d6e7271fca6f79525a634183cfdb175fe6924"
    "1f4da161779d8e6b761200e1cf93766010a19072fa778f9643363e2cfadd640900"
)
V5 = (
    "997eca36736d465e0e8d64e6d657ff4c939c8f5cad4272797ea0fe372bfd8d09"
    "53d21b3d06ded5dd80aee8cfa3a9be7ce615ce690eb64184fe15962943fe541300"
)

VECTORS = [
    (RUNTIME, "hello", V1),
    (SERVER, V2_TEXT, V2),
    (RUNTIME, V3_TEXT, V3),
    (INTEROP, "hello", V4),
]

keys = st.integers(1, N - 1).map(lambda number: PrivateKey(f"{number:064x}"))
texts = st.text(st.characters(exclude_categories=["Cs"]))


@pytest.mark.parametrize(("secret", "identity"), IDS.items())
def test_a_key_has_the_identity_of_the_vectors(secret, identity):
    assert PrivateKey(secret).id == identity


def test_a_public_key_is_65_bytes_uncompressed():
    public = (
        "0408e903276ee7973666dceeefa5335e5c4b6b5989821906db98f8de8acf8f8538"
        "24ca3234a8602200baa2d75f30cb2050cda18602824c3eb2da654a93a01a7ad4"
    )
    assert PrivateKey(UNIT_TEST)._key.public_key.format(compressed=False).hex() == public
    assert sha3(public) == IDS[UNIT_TEST]


@pytest.mark.parametrize(
    ("text", "digest"),
    [
        ("hello world", "644bcc7e564373040999aac89e7622f3ca71fba1d972fd94a31c3bfbf24e3938"),
        ("hello", "3338be694f50c5f338814986cdf0686453a888b84f424d792af4b9202398f392"),
        (V2_TEXT, "60505a7286296481b371f5f0d831f1065594d9be11e8acabeab18052712949b9"),
        (V3_TEXT, "e6b964caa7e22b3c67c520587ca80fac3e8deaf865f06498f2b3696a4ece6616"),
    ],
)
def test_the_hash_is_sha3_256_of_fips_202(text, digest):
    assert sha3(text) == sha3(text.encode()) == digest == sha3_256(text.encode()).hexdigest()


@pytest.mark.parametrize(("secret", "text", "signature"), VECTORS)
def test_a_signature_is_that_of_the_vectors_byte_by_byte(secret, text, signature):
    assert PrivateKey(secret).sign(text) == signature
    assert recover(text, signature) == IDS[secret]


def test_a_signature_of_another_signer_recovers_to_the_same_identity():
    assert V5 != V4
    assert recover("hello", V5) == IDS[INTEROP]


@given(keys, texts)
def test_what_is_signed_recovers_to_the_signer(key, text):
    signature = key.sign(text)
    assert signature == key.sign(text)
    assert recover(text, signature) == key.id


@given(keys, texts, texts)
def test_a_signature_names_nobody_known_over_another_text(key, text, other):
    if text != other:
        assert recover_or_refuse(other, key.sign(text)) != key.id


def recover_or_refuse(text, signature):
    try:
        return recover(text, signature)
    except BadSignature:
        return None


def twin(signature):
    """The other signature that ECDSA accepts for the same text: n - s, v flipped."""
    s = int(signature[64:128], 16)
    return f"{signature[:64]}{N - s:064x}0{1 - int(signature[129])}"


@pytest.mark.parametrize(("secret", "text", "signature"), VECTORS)
def test_the_high_s_twin_is_refused(secret, text, signature):
    with pytest.raises(BadSignature):
        recover(text, twin(signature))
    assert recover(text, twin(twin(signature))) == IDS[secret]


R, S, V = V1[:64], V1[64:128], V1[128:]
ZERO = "0" * 64


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param("", id="none"),
        pytest.param(V1.upper(), id="upper case"),
        pytest.param(V1[:10].upper() + V1[10:], id="some upper case"),
        pytest.param(V1[:-1], id="odd length"),
        pytest.param(V1[:-2], id="64 bytes"),
        pytest.param(V1 + "00", id="66 bytes"),
        pytest.param(V1 + "\n", id="a newline after it"),
        pytest.param(" " + V1[1:], id="a space in it"),
        pytest.param("0x" + V1[2:], id="0x before it"),
        pytest.param("٣" + V1[1:], id="a digit that is not ASCII"),
        pytest.param("z" + V1[1:], id="no hex"),
        *(pytest.param(R + S + f"{v:02x}", id=f"v {v}") for v in (2, 3, 4, 5, 27, 28, 255)),
        pytest.param(ZERO + S + V, id="r is 0"),
        pytest.param(R + ZERO + V, id="s is 0"),
        pytest.param(ZERO + ZERO + V, id="both are 0"),
        pytest.param(f"{N:064x}" + S + V, id="r is n"),
        pytest.param("f" * 64 + S + V, id="r is over n"),
        pytest.param(R + f"{N:064x}" + V, id="s is n"),
        pytest.param(R + "f" * 64 + V, id="s is over n"),
        pytest.param(R + f"{N // 2 + 1:064x}" + V, id="s is just over the half"),
        pytest.param(f"{5:064x}" + S + V, id="r is no x of the curve"),
    ],
)
def test_every_other_form_is_a_bad_signature(signature):
    with pytest.raises(BadSignature):
        recover("hello", signature)


def test_s_may_be_exactly_the_half():
    assert recover_or_refuse("hello", R + f"{N // 2:064x}" + V)


@given(texts, st.text() | st.from_regex(r"[0-9a-f]{130}", fullmatch=True))
def test_any_text_as_a_signature_names_somebody_or_is_a_bad_signature(text, signature):
    assert recover_or_refuse(text, signature) != ""


@given(texts, st.binary(min_size=64, max_size=64), st.sampled_from(["00", "01"]))
def test_any_65_bytes_name_somebody_or_are_a_bad_signature(text, numbers, v):
    identity = recover_or_refuse(text, numbers.hex() + v)
    assert identity is None or len(identity) == 64


@pytest.mark.parametrize(
    "text",
    ["", "00", "0" * 64, f"{N:064x}", "f" * 64, "g" * 64, "1" * 63, "1" * 65, "1" * 64 + "\n"],
)
def test_a_text_that_is_no_key_is_malformed_and_not_repeated(text):
    with pytest.raises(Malformed) as refusal:
        PrivateKey(text)
    assert len(text) < 5 or text not in str(refusal.value)


def test_a_key_is_taken_in_upper_case_and_given_in_lower():
    assert PrivateKey(SERVER.upper()).hex == SERVER
    assert PrivateKey(f"{7:064x}").hex == f"{7:064x}"


def test_generated_keys_differ_and_never_show_their_secret():
    one, other = PrivateKey.generate(), PrivateKey.generate()
    assert one.id != other.id
    assert one.hex not in repr(one)
    assert one.hex not in str(one)
