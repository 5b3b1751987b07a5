"""The image, the composition and the Kubernetes example name only commands, settings and files that there are.

No container runs here. What can be tried without one is: the scripts, the roles and their passwords, the probe, and in
tests/cluster/test_rolling_restart.py the proxy's configuration.
"""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from flash import bridge
from flash.cli.parser import build_parser
from flash.config import Config, environment, postgres_environment
from flash.local.embedded import EmbeddedPostgres, EmbeddedValkey
from flash.local.embedded.binaries import find_postgres
from flash.shutdown import process_stop_seconds
from flash.stores.migration import migrate
from flash.testing.cluster import running_cluster
from flash.testing.stores import psql
from tests.stores.database import run_sql

ROOT = Path(__file__).resolve().parent.parent
COMPOSE_FOLDER = ROOT / "deploy" / "compose"
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
OURS = {name: service for name, service in COMPOSE["services"].items() if service["image"] == "flash"}
MANIFESTS = [
    manifest
    for file in sorted((ROOT / "deploy" / "kubernetes").glob("*.yaml"))
    for manifest in yaml.safe_load_all(file.read_text())
]
PODS = {
    manifest["metadata"]["name"]: manifest["spec"]["template"]
    for manifest in MANIFESTS
    if manifest["kind"] in ("Deployment", "Job")
}
IMAGE_SETTINGS = {"FLASH_HOST": "0.0.0.0", "PORT": "8080", "WEB_CONCURRENCY": "1"}


# --- the image ---


def test_the_image_is_made_of_files_that_its_builder_gets() -> None:
    sent = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {source for source in re.findall(r"(?m)^COPY (\S+) ", dockerfile()) if not source.startswith("--from=")}
    assert copied == sent
    assert all((ROOT / name).exists() for name in sent)


def test_the_image_has_pinned_packages_and_no_rights() -> None:
    text = dockerfile()
    assert "--require-hashes" in text
    assert "--only-binary=:all:" in text
    assert re.search(r"(?m)^USER \d{4,}$", text), "a number: Kubernetes cannot look names up"
    assert re.findall(r"(?m)^FROM (\S+)", text) == ["python:${PYTHON}-slim"] * 2
    set_here = dict(re.findall(r"(\w+)=([^\s\\]+)", text[text.rindex("ENV ") : text.index("USER ")]))
    assert IMAGE_SETTINGS.items() <= set_here.items()


def dockerfile() -> str:
    return (ROOT / "Dockerfile").read_text()


# --- the composition ---


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    """What deploy/compose/make-secrets makes."""
    folder = tmp_path / "secrets"
    subprocess.run([COMPOSE_FOLDER / "make-secrets", folder], check=True)
    return folder


def test_every_secret_that_the_composition_asks_for_is_made_once(secrets: Path) -> None:
    asked = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    made = {file.name: file.read_text() for file in secrets.iterdir()}
    assert set(made) == asked
    assert {Path(secret["file"]).parent for secret in COMPOSE["secrets"].values()} == {Path("deploy/compose/secrets")}
    assert stat.S_IMODE(secrets.stat().st_mode) == 0o700, "nobody else gets at the files"
    subprocess.run([COMPOSE_FOLDER / "make-secrets", secrets], check=True)
    assert {file.name: file.read_text() for file in secrets.iterdir()} == made
    assert "deploy/compose/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    assert made["service_password"].strip() in made["database_url"]
    assert made["owner_password"].strip() in made["owner_url"]
    assert made["valkey_conf"].split()[1] in made["redis_url"]


@pytest.mark.parametrize("name", OURS)
def test_a_service_runs_a_command_with_settings_that_there_are(name: str, secrets: Path) -> None:
    service = OURS[name]
    build_parser().parse_args(service["command"])
    given = {variable: default_of(str(value)) for variable, value in service["environment"].items()}
    read = [Path(value).name for variable, value in given.items() if variable.endswith("_FILE")]
    assert sorted(read) == sorted(service["secrets"])
    config = Config.from_env({**IMAGE_SETTINGS, **in_folder(given, "/run/secrets", secrets)})
    assert config.warnings() == []


@pytest.mark.parametrize("name", OURS)
def test_a_service_has_no_rights_and_is_given_the_time_to_stop(name: str) -> None:
    service = OURS[name]
    assert service["read_only"]
    assert service["cap_drop"] == ["ALL"]
    prestop = float(service["environment"].get("FLASH_PRESTOP_SECONDS", 0))
    grace = float(service.get("stop_grace_period", "10s").removesuffix("s"))
    assert grace > process_stop_seconds(Config().drain_seconds, prestop)


def test_what_the_composition_mounts_and_builds_is_there() -> None:
    mounted = [
        volume.split(":")[0]
        for service in COMPOSE["services"].values()
        for volume in service.get("volumes", ())
        if volume.startswith("./")
    ]
    assert len(mounted) == 2
    assert all((ROOT / path).is_file() for path in mounted)
    assert (ROOT / OURS["migrate"]["build"] / "Dockerfile").is_file()


def test_the_proxy_knows_the_web_processes_by_their_names_in_the_composition() -> None:
    servers = re.findall(r"PROXY_WEB_\d-([\w-]+):(\d+)", (ROOT / "deploy" / "haproxy" / "haproxy.cfg").read_text())
    webs = [name for name, service in OURS.items() if service["command"] == ["web"]]
    assert servers == [(name, IMAGE_SETTINGS["PORT"]) for name in webs]


@pytest.fixture
def composed_postgres(own_postgres: EmbeddedPostgres, secrets: Path) -> EmbeddedPostgres:
    """A server on which deploy/compose/make-roles.sh has made what it makes."""
    psql(own_postgres, "DROP DATABASE flash")
    script = postgres_environment(SECRETS=str(secrets), POSTGRES_USER="flash", PATH=f"{find_postgres()}:/usr/bin:/bin")
    script["PGHOST"] = str(own_postgres.socket_dir)
    subprocess.run([COMPOSE_FOLDER / "make-roles.sh"], env=script, check=True)
    return own_postgres


async def test_the_roles_of_the_composition_can_migrate_and_serve(composed_postgres: EmbeddedPostgres) -> None:
    owner, service = (composed_postgres.url.replace("flash@", f"flash_{role}@") for role in ("owner", "service"))
    async with bridge.open_loop():
        await migrate(owner, grant_to="flash_service")
        assert [row[0] for row in await run_sql(service, "SELECT count(*) FROM purchases")] == [0]
    with_password = "SELECT rolname FROM pg_authid WHERE rolpassword LIKE 'SCRAM-SHA-256$%' ORDER BY 1"
    assert psql(composed_postgres, with_password).split() == ["flash_owner", "flash_service"]


async def test_the_probe_of_the_image_tells_a_process_that_answers(postgres: str, valkey: EmbeddedValkey) -> None:
    async with running_cluster(postgres, valkey.url, web=1, FLASH_CONTROL_TOKEN="0123456789abcdef") as (_, (address,)):
        port = address.rpartition(":")[2]
        assert probe(port).returncode == 0
        assert probe(port, f"{address}/metrics").returncode == 0, "a 401 is an answer"
    gone = probe(port)
    assert gone.returncode == 1
    assert f"http://127.0.0.1:{port}/livez: " in gone.stderr


def probe(port: str, *url: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "deploy" / "docker" / "healthcheck.py"
    return subprocess.run(
        [sys.executable, script, *url], env=environment(PORT=port), capture_output=True, text=True, check=False
    )


# --- Kubernetes ---


def test_the_example_applies_all_of_its_files() -> None:
    (kustomization,) = (manifest for manifest in MANIFESTS if manifest["kind"] == "Kustomization")
    files = {file.name for file in (ROOT / "deploy" / "kubernetes").glob("*.yaml")}
    assert {*kustomization["resources"], "kustomization.yaml"} == files


@pytest.mark.parametrize("name", PODS)
def test_a_pod_runs_a_command_with_settings_that_there_are(name: str, secrets: Path) -> None:
    (container,) = PODS[name]["spec"]["containers"]
    build_parser().parse_args(container["args"])
    (kustomization,) = (manifest for manifest in MANIFESTS if manifest["kind"] == "Kustomization")
    (settings,) = kustomization["configMapGenerator"]
    shared = dict(pair.split("=") for pair in settings["literals"]) if "envFrom" in container else {}
    own = {variable["name"]: variable["value"] for variable in container["env"]}
    (mount,) = container["volumeMounts"]
    config = Config.from_env({**IMAGE_SETTINGS, **shared, **in_folder(own, mount["mountPath"], secrets)})
    assert config.warnings() == []
    assert config.host == "0.0.0.0"
    grace = PODS[name]["spec"].get("terminationGracePeriodSeconds", 30)
    assert grace > process_stop_seconds(config.drain_seconds, config.prestop_seconds)


@pytest.mark.parametrize("name", PODS)
def test_a_pod_has_no_rights(name: str) -> None:
    pod = PODS[name]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"]
    assert f"\nUSER {pod['securityContext']['runAsUser']}\n" in dockerfile()
    assert not pod["automountServiceAccountToken"]
    assert not pod["enableServiceLinks"]
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"]
    assert not security["allowPrivilegeEscalation"]
    assert security["capabilities"] == {"drop": ["ALL"]}


def test_what_selects_pods_finds_some() -> None:
    labels = [template["metadata"]["labels"] for template in PODS.values()]
    wanted = [*found(MANIFESTS, "matchLabels"), *found(MANIFESTS, "selector")]
    ours = [selector for selector in wanted if selector.get("app.kubernetes.io/name") == "flash"]
    assert len(ours) >= 9
    assert all(any(selector.items() <= pod.items() for pod in labels) for selector in ours)


def test_the_probes_of_a_pod_ask_what_the_service_answers() -> None:
    (container,) = PODS["flash-web"]["spec"]["containers"]
    (port,) = container["ports"]
    assert port == {"name": "http", "containerPort": int(IMAGE_SETTINGS["PORT"])}
    asked = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {kind: probe["path"] for kind, probe in asked.items()} == {
        "startup": "/livez",
        "liveness": "/livez",
        "readiness": "/readyz",
    }


def test_what_asks_an_inventory_process_knows_its_port() -> None:
    for environment_of, command in (
        (OURS["inventory-1"]["environment"], OURS["inventory-1"]["healthcheck"]["test"]),
        (
            {
                variable["name"]: variable["value"]
                for variable in PODS["flash-inventory"]["spec"]["containers"][0]["env"]
            },
            PODS["flash-inventory"]["spec"]["containers"][0]["livenessProbe"]["exec"]["command"],
        ),
    ):
        assert command[-1] == f"http://127.0.0.1:{environment_of['FLASH_METRICS_PORT']}/metrics"


def test_kustomize_accepts_the_example() -> None:
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not on this machine")
    built = subprocess.run(
        [kubectl, "kustomize", ROOT / "deploy" / "kubernetes"], capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    kinds = sorted(manifest["kind"] for manifest in yaml.safe_load_all(built.stdout))
    assert kinds == sorted([*(m["kind"] for m in MANIFESTS if m["kind"] != "Kustomization"), "ConfigMap"])


def in_folder(settings: dict[str, str], there: str, here: Path) -> dict[str, str]:
    """`settings` with the secrets that are mounted `there` read from `here`, the owner's URL among them."""
    return {name: value.replace(there, str(here)) for name, value in settings.items()}


def default_of(text: str) -> str:
    """What Compose makes of a value if the variable in it is unset."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def found(document: Any, key: str) -> Iterator[dict[str, Any]]:
    """All mappings that stand under `key` anywhere in `document`."""
    if isinstance(document, dict):
        for name, value in document.items():
            if name == key and isinstance(value, dict) and "matchLabels" not in value:
                yield value
            yield from found(value, key)
    elif isinstance(document, list):
        for value in document:
            yield from found(value, key)
