"""Settings: where each value comes from, and what is said when it is no value."""

import re

import msgspec
import pytest

from colonies import settings as module
from colonies.core.errors import Misconfigured
from colonies.settings import SETTINGS, Settings, load

SECRETS = [name for name, setting in SETTINGS.items() if setting.secret]


@pytest.fixture
def config(tmp_path):
    """Write a configuration file; gives the environment that names it."""

    def write(text: str) -> dict[str, str]:
        path = tmp_path / "config.toml"
        path.write_text(text)
        return {"COLONIES_CONFIG": str(path)}

    return write


def test_without_anything_all_is_default():
    assert load({}, {}) == Settings()


def test_a_flag_goes_before_the_environment_before_the_file_before_the_default(config):
    environ = config('server_port = 1\nserver_host = "file"\n')
    assert load({}, environ).server_port == 1
    environ |= {"COLONIES_SERVERPORT": "2"}
    assert load({}, environ).server_port == 2
    assert load({"server_port": 3}, environ).server_port == 3
    assert load({"server_port": None}, environ).server_port == 2
    assert load({}, environ).server_host == "file"
    assert load({}, environ).timeout == Settings().timeout


def test_an_empty_variable_is_none(config):
    environ = config("server_port = 1") | {"COLONIES_SERVERPORT": ""}
    assert load({}, environ).server_port == 1


@pytest.mark.parametrize(
    ("text", "value"), [("true", True), ("True", True), ("1", True), ("FALSE", False), ("0", False)]
)
def test_a_yes_or_no_is_said_in_several_ways(text, value):
    assert load({}, {"COLONIES_TLS": text}).tls is value


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("COLONIES_SERVERPORT", "many", "expected int, not 'many'"),
        ("COLONIES_SERVERPORT", "1.5", "expected int, not '1.5'"),
        ("COLONIES_TLS", "perhaps", "expected bool, not 'perhaps'"),
        ("COLONIES_TIMEOUT", "soon", "expected float, not 'soon'"),
    ],
)
def test_a_bad_value_is_told_by_where_it_came_from(variable, text, expected):
    with pytest.raises(Misconfigured, match=f"{variable}: {expected}"):
        load({}, {variable: text})


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        ("COLONIES_TICK", "0", "a number above 0"),
        ("COLONIES_TICK", "-1", "a number above 0"),
        ("COLONIES_TICK", "inf", "a number above 0"),
        ("COLONIES_TICK", "nan", "a number above 0"),
        ("COLONIES_KEEP_FAILED", "-0.5", "0 or a number above"),
        ("COLONIES_KEEP_FAILED", "inf", "0 or a number above"),
        ("COLONIES_SERVERPORT", "-1", "0 or a number above"),
    ],
)
def test_a_number_out_of_range_is_told_by_where_it_came_from(variable, text, expected):
    with pytest.raises(Misconfigured, match=f"{variable}: expected {expected}, not "):
        load({}, {variable: text})


def test_0_is_a_value_where_it_means_something():
    environ = {"COLONIES_KEEP_FAILED": "0", "COLONIES_SERVERPORT": "0"}
    assert (load({}, environ).keep_failed, load({}, environ).server_port) == (0, 0)


def test_a_bad_value_in_the_file_is_told_by_its_name_and_the_file(config):
    environ = config('server_port = "many"')
    with pytest.raises(Misconfigured, match=r"server_port in .*config\.toml: expected int"):
        load({}, environ)


def test_a_bad_flag_is_told_by_its_spelling():
    with pytest.raises(Misconfigured, match=f"{module.flag_of('server_port')}: expected int"):
        load({"server_port": "many"}, {})


def test_an_unknown_key_in_the_file_suggests_the_nearest(config):
    with pytest.raises(Misconfigured, match="no setting serverport, did you mean server_port"):
        load({}, config("serverport = 1"))
    with pytest.raises(Misconfigured, match=r"no setting xyzzy$"):
        load({}, config("xyzzy = 1"))


def test_a_file_that_is_no_toml_is_told_by_its_name(config):
    with pytest.raises(Misconfigured, match=r"config\.toml: "):
        load({}, config("server_port = = 1"))


def test_a_file_that_is_named_must_be_there(tmp_path):
    with pytest.raises(Misconfigured, match="COLONIES_CONFIG: there is no file"):
        load({}, {"COLONIES_CONFIG": str(tmp_path / "nowhere")})


@pytest.mark.parametrize("name", SECRETS)
def test_a_secret_is_never_shown(name, config):
    secret = "hunter2-hunter2"
    settings = msgspec.structs.replace(Settings(), **{name: secret})
    assert secret not in repr(settings)
    assert secret not in str(settings)
    assert secret not in f"{settings!r}"
    assert f"{name}='***'" in repr(settings)
    with pytest.raises(Misconfigured) as refusal:
        load({}, config(f'{name} = ["{secret}"]'))
    assert secret not in str(refusal.value)


def test_every_key_and_password_is_a_secret():
    assert {name for name in SETTINGS if re.search("prvkey|password|passphrase", name)} <= set(
        SECRETS
    )


def test_the_four_variables_of_the_reference_make_a_url():
    environ = {
        "COLONIES_DBHOST": "db",
        "COLONIES_DBUSER": "me@here",
        "COLONIES_DBPASSWORD": "p/w:1",
        "COLONIES_DBPORT": "5433",
    }
    expected = "postgresql://me%40here:p%2Fw%3A1@db:5433/postgres"
    assert load({}, environ).database_url == expected
    given = environ | {"COLONIES_DATABASE_URL": "postgresql://other"}
    assert load({}, given).database_url == "postgresql://other"


def test_every_setting_has_a_variable_and_a_meaning_of_its_own():
    variables = [setting.env for setting in SETTINGS.values()]
    assert len(set(variables)) == len(variables)
    assert all(one.startswith("COLONIES_") for one in variables)
    flags = [module.flag_of(name) for name in SETTINGS]
    assert len(set(flags)) == len(flags)
    assert all(setting.help for setting in SETTINGS.values())
