-- Several hubs on one database know of each other.

CREATE TABLE hubs (
    hub_id    text PRIMARY KEY,
    name      text NOT NULL,
    host      text NOT NULL,
    port      integer NOT NULL,
    version   text NOT NULL,
    started   timestamptz NOT NULL,
    last_seen timestamptz NOT NULL,
    backend   integer NOT NULL
);
