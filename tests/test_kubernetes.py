"""The example for Kubernetes says what the code says: its schema is not all that can be wrong."""

import asyncio
import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from urllib.request import urlopen

import click
import pytest
import yaml

from colonies.cli import cli
from colonies.cli.server import start
from colonies.server.peers import FAREWELL
from colonies.server.protocol import GRACE
from colonies.settings import SETTINGS, Settings, load
from colonies.version import __version__
from runtimes.launcher import Plugins
from tests.programs import ROOT

FOLDER = ROOT / "examples" / "kubernetes"
RESOURCES = {
    (one["kind"], one["metadata"]["name"]): one
    for path in sorted(FOLDER.glob("*.yaml"))
    for one in yaml.safe_load_all(path.read_text())
}
CONTAINERFILE = (FOLDER / "Containerfile").read_text()
NAME = "colonies-hub"


def resource(kind: str) -> dict:
    return RESOURCES[kind, NAME]


RUNTIME = {
    one["kind"]: one for one in yaml.safe_load_all((FOLDER / "runtime/runtime.yaml").read_text())
}


@pytest.fixture
def pod() -> dict:
    return resource("Deployment")["spec"]["template"]["spec"]


@pytest.fixture
def hub(pod) -> dict:
    (container,) = pod["containers"]
    return container


def instruction(name: str) -> list[str]:
    """Give what the last of these instructions says, a word each."""
    text = CONTAINERFILE.replace("\\\n", "")
    last = re.findall(rf"^{name} (.*)$", text, re.MULTILINE)[-1]
    return yaml.safe_load(last) if last.startswith("[") else shlex.split(last)


@pytest.fixture
def told(hub) -> Settings:
    """What a hub in the pod is set to."""
    secret = resource("Secret")["stringData"]
    assert {"secretRef": {"name": NAME}} in hub["envFrom"]
    environ = secret | {one["name"]: one["value"] for one in hub["env"]}
    assert set(environ) <= {setting.env for setting in SETTINGS.values()}
    return load(command_line(hub["args"]), environ)


def command_line(arguments: list[str]) -> dict:
    """Give what our command understands of what it is told."""
    group, name, *options = arguments
    context = click.Context(cli)
    assert cli.get_command(context, group).get_command(context, name) is start
    return start.make_context(name, options).params


def test_there_are_a_secret_and_hubs_with_a_service_and_a_budget():
    kinds = ["Deployment", "PodDisruptionBudget", "Secret", "Service"]
    assert sorted(RESOURCES) == [(kind, NAME) for kind in kinds]


def test_the_pod_has_settings_that_a_hub_takes(told, hub):
    assert len(told.server_id) == 64
    assert told.database_url
    (port,) = hub["ports"]
    assert told.server_port == port["containerPort"]
    assert told.bind == Settings().bind
    assert told.workers == 1


def test_the_image_runs_our_command_at_the_same_port(hub):
    (program,) = instruction("ENTRYPOINT")
    scripts = (ROOT / "pyproject.toml").read_text()
    assert f'{program} = "colonies.__main__:main"' in scripts
    assert hub["args"][:2] == instruction("CMD")
    assert instruction("EXPOSE") == [str(Settings().server_port)]


def test_the_image_is_as_new_as_the_code(hub):
    for text in (hub["image"], CONTAINERFILE, (FOLDER / "README.md").read_text()):
        assert set(re.findall(r"colonies:([\d.]*\d)", text)) == {__version__}


async def test_the_hub_answers_what_the_probes_ask(hub, server):
    probes = {name: hub[f"{name}Probe"]["httpGet"] for name in ("startup", "readiness", "liveness")}
    assert {one["port"] for one in probes.values()} == {hub["ports"][0]["name"]}
    assert probes["readiness"]["path"] == "/ready"
    assert probes["liveness"]["path"] == probes["startup"]["path"] == "/health"
    for path in ("/ready", "/health"):
        url = f"http://127.0.0.1:{server.port}{path}"
        with await asyncio.to_thread(urlopen, url) as answer:
            assert answer.status == 200


def test_the_service_and_the_budget_find_the_pods(hub):
    deployment = resource("Deployment")["spec"]
    labels = deployment["template"]["metadata"]["labels"]
    (port,) = resource("Service")["spec"]["ports"]
    (spread,) = deployment["template"]["spec"]["topologySpreadConstraints"]
    assert resource("Service")["spec"]["selector"] == labels
    assert port["targetPort"] == hub["ports"][0]["name"]
    assert port["port"] == Settings().server_port
    for one in (deployment, resource("PodDisruptionBudget")["spec"], spread):
        selector = one.get("selector") or one["labelSelector"]
        assert selector == {"matchLabels": labels}
    assert deployment["replicas"] > resource("PodDisruptionBudget")["spec"]["maxUnavailable"]


def test_the_pod_may_do_nothing_that_a_hub_need_not(pod, hub):
    user = pod["securityContext"]["runAsUser"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert [f"{user}:{pod['securityContext']['runAsGroup']}"] == instruction("USER")
    assert f"--uid {user} " in CONTAINERFILE
    assert hub["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not pod["automountServiceAccountToken"]


def test_the_pod_has_time_to_stop(pod, hub):
    (_, seconds) = hub["lifecycle"]["preStop"]["exec"]["command"]
    assert pod["terminationGracePeriodSeconds"] > int(seconds) + GRACE + FAREWELL


def test_what_the_image_copies_makes_the_wheel(tmp_path):
    source = tmp_path / "source"
    source.mkdir()
    for words in re.findall(r"^COPY (?!--)(.*)$", CONTAINERFILE, re.MULTILINE):
        *names, target = words.split()
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, tmp_path / target.strip("/"))
            else:
                shutil.copy(ROOT / name, source)
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=source, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    packed = set(zipfile.ZipFile(wheel).namelist())
    assert "colonies/server/schema.sql" in packed
    assert "colonies/server/sql/process.sql" in packed


def test_the_runtime_of_the_example_takes_what_it_is_told():
    (container,) = RUNTIME["StatefulSet"]["spec"]["template"]["spec"]["containers"]
    name, *options = container["args"]
    group = Plugins(name="colonies-run")
    told = group.get_command(click.Context(group), name).make_context(name, options).params
    ports = {one["name"]: one["containerPort"] for one in container["ports"]}
    assert {"health": told["health_port"]} == ports
    probes = [container[name]["httpGet"] for name in ("livenessProbe", "readinessProbe")]
    assert [("/health", "health"), ("/ready", "health")] == [
        (probe["path"], probe["port"]) for probe in probes
    ]
