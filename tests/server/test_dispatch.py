"""What the dispatcher does with a message besides answering it."""

import threading

from colonies.core.identity import recover
from colonies.server import dispatch


async def test_a_long_payload_is_hashed_beside_the_loop(member, monkeypatch):
    on_loop = []

    def noted(text: str, signature: str) -> str:
        on_loop.append(threading.current_thread() is threading.main_thread())
        return recover(text, signature)

    monkeypatch.setattr(dispatch, "recover", noted)
    long = await member.submit("work", "x" * dispatch.LONG_PAYLOAD, runtime_type="cli")
    assert (await member.get_process(long.id)).spec.args == ["x" * dispatch.LONG_PAYLOAD]
    assert on_loop == [False, True]
