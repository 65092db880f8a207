"""What the fields of everything on the wire mean, for the tables that `generate` makes."""

from enum import IntEnum

from colonies.core.attribute import Attribute, AttributeKind
from colonies.core.cluster import Cluster, Node
from colonies.core.colony import Colony, Statistics
from colonies.core.cron import Cron
from colonies.core.explanation import Explanation
from colonies.core.function import Argument, Function
from colonies.core.generator import Generator
from colonies.core.history import Event, Happening
from colonies.core.log import Append, Entry, LogPage, NewEntry, Progress
from colonies.core.process import Conditions, Held, Process, ProcessSpec, State
from colonies.core.process_graph import (
    GraphEdge,
    GraphNode,
    NodeData,
    NodeStyle,
    Position,
    ProcessGraph,
)
from colonies.core.runtime import Approval, Figures, Location, Runtime
from colonies.core.workflow import WorkflowSpec

MEANINGS: dict[type, dict[str, str]] = {
    ProcessSpec: {
        "name": "for people",
        "func": "what to run; the runtime knows what that is, and may [announce](#functions) it",
        "args": "arguments in order; [text, or JSON as text](runtimes.md#arguments-and-results)",
        "kwargs": "arguments by name",
        "priority": "higher goes first",
        "maxwaittime": "seconds in the queue; 0 or less: no limit",
        "maxexectime": "seconds of one execution; 0 or less: no limit",
        "maxretries": "returns to the queue after an execution was lost or too long; "
        "0: none, below 0: no limit",
        "lease": "seconds that its runtime may be silent, to 86400; 0: 30",
        "conditions": "who may have it",
        "env": "environment variables for whoever runs it",
    },
    Conditions: {
        "colonyid": "the colony; must be there in a submission, "
        "but in a workflow may be left to that",
        "runtimeids": "only these runtimes; empty, or with `*` in it: any",
        "runtimetype": "only runtimes of this type, to 256 characters; "
        "empty with runtime ids: these, whatever their type; "
        "without: the type that [announces](#functions) `func`",
        "dependencies": "in a workflow, the names of those that it waits for",
        "cores": "cores the runtime must have",
        "mem": "MiB of memory the runtime must have",
        "gpus": "GPUs the runtime must have",
    },
    Process: {
        "processid": "its id",
        "assignedruntimeid": "the runtime that has it, or ended it; empty again in the queue",
        "isassigned": "whether a runtime has it, or ended it; false again in the queue",
        "state": "how far it has come",
        "submissiontime": "when it was submitted",
        "starttime": "when the attempt was assigned; not yet, again, in the queue",
        "endtime": "when it ended",
        "waitdeadline": "when `maxwaittime` is over",
        "execdeadline": "when `maxexectime` is over",
        "retries": "returns to the queue so far, releases not counted",
        "attributes": "what its runtime added",
        "spec": "what was submitted",
        "waitforparents": "whether it waits for processes that it depends on",
        "parents": "the processes that it depends on, in the order of its `dependencies`",
        "children": "the processes that depend on it",
        "processgraphid": "the graph that it belongs to, if it is of a workflow",
        "in": "what its parents gave, one after the other",
        "out": "what came out of it",
        "errors": "why it failed",
        "attempt": "number of the present or last attempt; 0: none yet",
        "attempttoken": "proof of the attempt, told to its runtime alone, and at assignment",
        "leaseduntil": "when the lease is lost unless it is renewed; not yet: no end",
        "cancelledby": "the identity that cancelled it",
        "cancelreason": "why, in words for people",
        "canceltime": "when; a running one ends once it is stopped",
        "inputlengths": "how much of `in` is from each parent",
        "submittedby": "the identity that submitted it; "
        "for a cron or a generator, the one that added that",
    },
    WorkflowSpec: {
        "colonyid": "the colony; must be there in a submission",
        "processspecs": "the processes, from 1 to 10000, each with a name of its own",
        "onfailure": "what becomes of the rest when one has failed: `continue` or `cancel`",
    },
    ProcessGraph: {
        "processgraphid": "its id",
        "colonyid": "its colony",
        "rootprocessids": "those of its processes that wait for nobody",
        "state": "how far it has come; as of a process",
        "submissiontime": "when it was submitted",
        "starttime": "when the first of its processes started",
        "endtime": "when the last of its processes ended",
        "processids": "its processes, as a walk from the roots comes by; "
        "in a list of graphs, of those first ones that have 10000 in all",
        "nodes": "a picture of its processes; only with a single graph",
        "edges": "what waits for what; only with a single graph",
        "onfailure": "what becomes of the rest when one has failed",
        "members": "processes in it",
        "successful": "those of them that ended well",
        "failed": "those of them that failed",
        "cancelled": "those of them that were cancelled",
    },
    GraphNode: {
        "id": "the process",
        "data": "what is written on it",
        "position": "where it stands",
        "type": "`input` without parents, else `output` without children, else empty",
        "style": "how it looks",
    },
    NodeData: {
        "label": "the name of the process",
        "state": "how far it has come",
        "starttime": "when it started",
        "endtime": "when it ended",
    },
    Position: {
        "x": "pixels to the right",
        "y": "pixels down; 80 a level",
    },
    NodeStyle: {
        "color": "always empty",
        "background": "a colour for the state",
    },
    GraphEdge: {
        "id": "both ids with a hyphen between them",
        "source": "the process that is waited for",
        "target": "the process that waits",
        "animated": "whether the first is running",
    },
    Runtime: {
        "runtimeid": "its identity",
        "runtimetype": "the type of the processes it takes",
        "name": "for people; unique in the colony",
        "colonyid": "its colony",
        "cpu": "model of its CPU",
        "cores": "cores it has",
        "mem": "MiB of memory it has",
        "gpu": "model of its GPUs",
        "gpus": "GPUs it has",
        "state": "what the owner has decided; the hub's to fill in",
        "commissiontime": "when it was added; the hub's to fill in",
        "lastheardfromtime": "its last sign of life; the hub's to fill in",
        "location": "where it stands",
        "labels": "what it says of itself, for people; [its own](#labels) to say",
    },
    Figures: {
        "cores": "cores it has",
        "mem": "MiB of memory it has",
        "gpus": "GPUs it has",
        "cpu": "model of its CPU, for people",
        "gpu": "model of its GPUs, for people",
    },
    Function: {
        "name": "what `func` of a spec names; unique at a runtime",
        "description": "what it does, for people, to 4096 characters",
        "args": "its arguments in order, to 100",
        "colonyid": "its colony; the hub's to fill in",
        "runtimeid": "the runtime that announces it; the hub's to fill in",
        "runtimetype": "the type of that runtime; the hub's to fill in",
    },
    Argument: {
        "name": "its name",
        "type": "what its text has to be: `any`, `bool`, `float`, `int`, `json` or `str`",
        "description": "what it means, for people",
        "required": "whether a call must give it",
        "default": "what it is otherwise, as text for people, to 256 characters",
        "passing": "how it is given: `either`, `position` or `name`",
        "many": "whether it is any number of further ones; then by `position` or by `name`",
    },
    LogPage: {
        "processid": "whose it is",
        "position": "where it begins",
        "nextposition": "where the next one begins",
        "length": "where the log ends",
        "attempt": "the last attempt that has said something",
        "number": "that of its last append",
        "ends": "how many bytes of each of its streams are known",
        "progress": "how far it says that it has come",
        "isover": "whether the process has ended and this is the last page",
        "entries": "what there is, in order",
    },
    Entry: {
        "position": "bytes of text that the log had before",
        "attempt": "the number of the attempt that has said it",
        "stream": "`stdout`, `stderr` or another name",
        "offset": "bytes of the stream before it",
        "size": "bytes of the stream that it stands for",
        "text": "what was said; mostly whole lines",
        "time": "when the hub has heard it",
    },
    Append: {
        "processid": "the process",
        "number": "greater than those of the appends before",
        "attempttoken": "that of the attempt",
        "entries": "what was said, to 1000 texts",
        "progress": "how far it has come, if that is new",
    },
    NewEntry: {
        "stream": "`stdout`, `stderr` or another name, to 32 characters",
        "offset": "bytes of the stream before it",
        "size": "bytes of the stream that it stands for",
        "text": "what was said, 1 to 65536 characters",
    },
    Progress: {
        "done": "how much is done",
        "total": "of how much, 1 for a fraction; 0: nothing is said",
        "text": "where it is at, for people, to 1000 characters",
    },
    Location: {
        "long": "degrees of longitude",
        "lat": "degrees of latitude; 0 and 0: it does not say",
    },
    Colony: {
        "colonyid": "the identity of its owner",
        "name": "for people; need not be unique",
    },
    Attribute: {
        "attributeid": "SHA3-256 of target id, key and type written one after the other; "
        "the hub's to fill in",
        "targetid": "the process it is on",
        "targetcolonyid": "the colony of that process; the hub's to fill in",
        "targetprocessgraphid": "the graph of that process, if it is of a workflow",
        "attributetype": "what it is for",
        "key": "its name; each once on a process and type",
        "value": "what it says",
    },
    Statistics: {
        "colonies": "colonies; 1 when asked of one",
        "runtimes": "runtimes in any state",
        "waitingprocesses": "processes in the queue",
        "runningprocesses": "processes that a runtime has",
        "successfulprocesses": "processes that ended well",
        "failedprocesses": "processes that failed",
        "waitingworkflows": "workflows of which nothing has started",
        "runningworkflows": "workflows of which something has started and not all has ended",
        "successfulworkflows": "workflows that ended well",
        "failedworkflows": "workflows that ended with a failure",
        "cancelledprocesses": "processes that were cancelled",
        "cancelledworkflows": "workflows that were cancelled, and had no failure",
    },
    Node: {
        "name": "its host and process id",
        "host": "the host it runs on",
        "port": "v1's; always 0",
        "peerport": "v1's; always 0",
        "relayport": "v1's; always 0",
        "apiport": "the port it listens on",
        "hubid": "its id, new with every start",
        "version": "its version",
        "started": "since when it has been there",
        "lastseen": "its last sign of life",
        "isleader": "whether it is the one that leads",
    },
    Cluster: {
        "nodes": "the hubs that were seen in the last 10 seconds, the oldest first",
        "leader": "the one that leads; all empty while none does",
        "answeredby": "the `hubid` of the one that answers",
    },
    Cron: {
        "cronid": "its id; the hub's to fill in, as are its times and what it has submitted",
        "colonyid": "its colony, in which its workflows run",
        "name": "for people; unique in the colony",
        "cronexpression": "when it comes, see [crons](#crons); empty with an interval",
        "interval": "seconds from one time to the next; -1 with an expression",
        "random": "each time is drawn from the interval after the one before",
        "nextrun": "when it comes next; not yet: never again",
        "lastrun": "when the last workflow was submitted",
        "workflowspec": "a WorkflowSpec in JSON, as text",
        "prevprocessgraphid": "the workflow that was submitted last",
        "waitforprevprocessgraph": "whether to wait until that has ended",
        "checkerperiod": "milliseconds between looks at it, given by `getcronmsg` alone",
        "catchup": "times that were missed by more than 30 seconds: `one` runs one for all of "
        "them, `none` leaves them out",
        "addedby": "the identity that added it, which submits what it submits",
    },
    Generator: {
        "generatorid": "its id; the hub's to fill in, as is all that it does",
        "colonyid": "its colony, in which its workflows run",
        "name": "for people; unique in the colony",
        "workflowspec": "a WorkflowSpec in JSON, as text",
        "trigger": "how many arguments make a workflow, to 10000",
        "lastrun": "when the last workflow was submitted",
        "queuesize": "arguments packed and not used yet",
        "checkerperiod": "milliseconds between looks at it, given by `getgeneratormsg` alone",
        "timeout": "seconds after which fewer make one, from when the oldest was packed; 0: never",
        "firstpack": "when the oldest of them was packed",
        "addedby": "the identity that added it, which submits what it submits",
    },
    Event: {
        "time": "when",
        "event": "what: " + ", ".join(f"`{one}`" for one in Happening),
        "attempt": "the number of the attempt, where there was one",
        "runtimeid": "the runtime that made it",
        "text": "why, or by whom",
    },
    Explanation: {
        "processid": "the process",
        "state": "the state that it is in",
        "reasons": "why, one sentence each",
    },
    Held: {
        "processid": "the process",
        "attempttoken": "the token of the attempt; any other, or none, counts as lost",
    },
}
"""What each field of a noun means, by its name on the wire."""

NUMBERS: dict[type[IntEnum], tuple[str, dict[str, str]]] = {
    State: (
        "`state` of a process",
        {
            "WAITING": "in the queue",
            "RUNNING": "a runtime has it",
            "SUCCESS": "ended well, for good",
            "FAILED": "failed, for good",
            "CANCELLED": "cancelled, for good",
        },
    ),
    Approval: (
        "`state` of a runtime",
        {
            "PENDING": "the owner has not decided yet",
            "APPROVED": "let in",
            "REJECTED": "shut out",
        },
    ),
    AttributeKind: (
        "`attributetype`",
        {
            "IN": "what goes in",
            "OUT": "what came out",
            "ERR": "what went wrong",
            "ENV": "the environment",
        },
    ),
}
"""Where each enumeration stands, and what its members mean."""
