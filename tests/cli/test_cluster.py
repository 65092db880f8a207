"""``colonies cluster``: the hubs that serve together."""


async def test_the_hubs_are_listed_and_one_leads(shell, server):
    ran = await shell("cluster", "info")
    headings, row = ran.rows
    assert headings[:3] == ["NAME", "HOST", "APIPORT"]
    assert (row[2], row[-1]) == (str(server.port), "yes")
    answer = (await shell("cluster", "info", "--json")).answer
    assert answer["leader"] == answer["nodes"][0]
    assert answer["leader"]["hubid"] == answer["answeredby"] == server.hub.id
    # What v1 clients read.
    v1 = {"name", "host", "port", "peerport", "relayport", "apiport"}
    assert v1 < answer["leader"].keys()


async def test_it_is_for_the_hubs_owner(shell):
    poor = shell.having(COLONIES_SERVERID=None)
    assert "which server?" in await poor.refuses("cluster", "info", status=2)
