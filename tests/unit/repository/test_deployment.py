"""The deployment files keep their promises: no secret, nothing open, nothing that loses the schedule."""

import os
import re
import subprocess
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from rowcache_tasks import __version__
from rowcache_tasks.config.settings import SETTINGS
from rowcache_tasks.schedule.scripts import read_source

ROOT = Path(__file__).parents[3]
CELERY_SERVICES = ("dispatcher", "worker", "flower")


@pytest.fixture(scope="module")
def services():
    return YAML(typ="safe").load(ROOT / "docker-compose.yml")["services"]


@pytest.fixture(scope="module")
def instructions():
    """The instructions of the Dockerfile, one (name, argument) each, continued lines joined."""
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [tuple(line.split(maxsplit=1)) for line in text.splitlines() if line.strip()]


# docker-compose.yml


def test_compose_holds_no_secret(services):
    for service in services.values():
        for name, value in service.get("environment", {}).items():
            if re.search("PASSWORD|AUTH|SECRET|TOKEN", name):
                assert re.fullmatch(r"(\$\{\w+:-admin\}:)?\$\{\w+:\?[^}]+\}", value), name
            for password in re.findall(r"://[^:@/]*:([^@]*)@", value or ""):
                assert password.startswith("${"), name


def test_missing_password_stops_with_a_clear_line(services):
    required = set(re.findall(r"\$\{(\w+):\?set \1 in \.env, see \.env\.example\}", str(services)))
    roles = {
        f"VALKEY_{role.upper()}_PASSWORD"
        for role in ("reader", "application", "filler", "dispatcher", "worker", "operator")
    }
    assert required == roles | {"VALKEY_PASSWORD", "POSTGRES_PASSWORD", "ROWCACHE_DB_PASSWORD", "FLOWER_PASSWORD"}
    assert len(re.findall(r":\?", str(services))) == len(re.findall(r":\?set ", str(services)))
    example = (ROOT / ".env.example").read_text()
    assert set(re.findall(r"^(\w+)=$", example, re.MULTILINE)) == required
    assert not re.search(r"^\w+=.", example, re.MULTILINE)


def test_only_flower_is_published_and_only_on_loopback(services):
    published = {name: service["ports"] for name, service in services.items() if "ports" in service}
    assert list(published) == ["flower"]
    assert all(port.startswith("127.0.0.1:") for port in published["flower"])


def test_valkey_keeps_the_schedule(services):
    command = services["valkey"]["command"][-1]
    assert "--maxmemory-policy noeviction" in command
    assert "--appendonly yes" in command
    assert command.split("; ")[-1].startswith("exec ")
    assert "valkey-data:/data" in services["valkey"]["volumes"]


def test_valkey_gets_the_users_and_each_service_is_its_own(services):
    valkey = services["valkey"]
    assert "--aclfile" in valkey["command"][-1]
    assert "COPY --chmod=755 users.sh /etc/valkey/users.sh" in valkey["build"]["dockerfile_inline"]
    read = set(re.findall(r"VALKEY_[A-Z_]+", (ROOT / "deploy/users.sh").read_text()))
    assert read <= set(valkey["environment"])
    logins = {
        name: re.match(r"redis://(\w+):\$\{VALKEY_(\w+)_PASSWORD:", services[name]["environment"]["ROWCACHE_REDIS_URL"])
        for name in CELERY_SERVICES
    }
    assert {name: login[1] for name, login in logins.items()} == {
        "dispatcher": "dispatcher",
        "worker": "worker",
        "flower": "operator",
    }
    assert all(login[1].upper() == login[2] for login in logins.values())
    cli = services["cli"]["environment"]["ROWCACHE_REDIS_URL"]
    assert cli == services["flower"]["environment"]["ROWCACHE_REDIS_URL"]


def test_every_service_has_a_health_check_that_asks_the_thing_itself(services):
    checks = {name: " ".join(service["healthcheck"]["test"]) for name, service in services.items() if name != "cli"}
    assert checks["valkey"].endswith("= PONG")
    assert "pg_isready" in checks["postgres"]
    assert "has_table_privilege('rowcache_reader', 'inventory', 'SELECT')" in checks["postgres"]
    for name in ("dispatcher", "worker"):
        assert "ROWCACHE_ALIVE_FILE" in checks[name]
        assert "HOSTNAME" not in checks[name], "empty under podman"
        assert "celery" not in checks[name], "starting Python takes a second of a core"
    assert "/healthcheck" in checks["flower"]
    intervals = {service["healthcheck"].get("interval") for name, service in services.items() if name != "cli"}
    assert intervals == {"30s"}, "the engine takes 70 ms of a core to start a check: 0.3 % of one"


@pytest.mark.parametrize(("name", "program"), [("dispatcher", "beat"), ("worker", "worker")])
def test_health_check_that_fails_for_long_ends_the_program_of_the_service(services, name, program):
    # What the script does is tested with real processes, in tests/acceptance/test_health.py.
    *_, script, zeroth, first = services[name]["healthcheck"]["test"]
    assert (zeroth, first) == ("sh", program) == ("sh", services[name]["command"][0])
    assert "kill -s KILL -- -1" in script
    folder = services[name]["environment"]["ROWCACHE_ALIVE_FILE"].rpartition("/")[0]
    assert folder in services[name]["tmpfs"], "the file goes with its container"
    assert services[name]["init"] is True, "kill spares process 1, which then ends by itself"


def test_two_dispatchers_run_without_a_pid_file(services):
    assert services["dispatcher"]["deploy"]["replicas"] == 2
    assert "--pidfile=" in services["dispatcher"]["command"]


@pytest.mark.parametrize("name", ["dispatcher", "worker"])
def test_service_can_be_scaled(services, name):
    assert not {"container_name", "hostname", "ports"} & set(services[name])


def test_every_service_is_confined(services):
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["init"] is True
        assert service["pids_limit"]
        assert service["mem_limit"]
        assert service["restart"] == ("no" if service.get("profiles") == ["tools"] else "unless-stopped")


def test_only_workers_and_people_reach_the_database_and_can_only_read(services):
    having = [name for name in services if "ROWCACHE_DATABASE_URL" in services[name]["environment"]]
    assert having == ["worker", "cli"]
    assert "://rowcache_reader:" in services["worker"]["environment"]["ROWCACHE_DATABASE_URL"]
    grants = re.findall(r"GRANT (.*);", (ROOT / "deploy/init.sql").read_text())
    assert grants == ["SELECT ON inventory TO rowcache_reader"]


def test_every_variable_of_the_configuration_reaches_the_workers(services):
    names = {*map(str.upper, SETTINGS), "CELERY_TASK_SEND_SENT_EVENT", "CELERY_BROKER_URL"}
    assert names - set(services["worker"]["environment"]) == set()


def test_every_variable_of_the_files_is_documented():
    documented = (ROOT / "docs/deployment.md").read_text()
    files = ("celeryconfig.py", "docker-compose.yml", ".env.example")
    pattern = r"\b(?:ROWCACHE|CELERY|VALKEY|POSTGRES|FLOWER)_[A-Z_]+\b"
    read = {name for file in files for name in re.findall(pattern, (ROOT / file).read_text())}
    read |= set(map(str.upper, SETTINGS))
    assert {name for name in read if name not in documented} == {"POSTGRES_DB"}


def test_one_image_is_built_once(services):
    # Two services that build the same tag at the same time race: "image … already exists".
    assert [name for name in services if "build" in services[name]] == ["valkey", "postgres", "worker"]
    assert len({services[name]["image"] for name in (*CELERY_SERVICES, "cli")}) == 1


def test_nothing_is_read_with_the_modes_of_the_clone(services, instructions):
    inline = [service["build"].get("dockerfile_inline", "") for service in services.values() if "build" in service]
    copies = [line for text in inline for line in text.splitlines() if line.startswith("COPY")]
    last_from = max(index for index, (name, _) in enumerate(instructions) if name == "FROM")
    copies += [f"COPY {argument}" for name, argument in instructions[last_from:] if name == "COPY"]
    assert len(copies) == 5
    assert all(re.match(r"COPY --(chmod=(644|755)|from=(dependencies|package)) ", line) for line in copies)
    mounts = [volume for service in services.values() for volume in service.get("volumes", [])]
    assert [mount for mount in mounts if mount.startswith((".", "/"))] == []


# deploy/users.sh

SCRIPTS = {
    "dispatcher": ["claim_rows", "release_rows", "claim_entry", "check_clock", "repair_rows"],
    "filler": ["begin_fill", "end_fill", "touch_rows", "check_positions", "give_moved", "take_moved", "leave_moved"],
    "worker": [
        *("look_rows", "commit_rows", "miss_rows", "release_rows", "lease_rows", "put_rows", "drop_rows", "touch_rows"),
        *("pause_table", "drop_table", "check_positions", "give_moved", "take_moved", "leave_moved"),
    ],
    "operator": ["put_rows", "drop_rows", "touch_rows", "pause_table", "drop_table"],
}
"""Role -> the scripts that it calls."""


def test_each_role_is_allowed_the_commands_of_its_scripts():
    roles = ("", "READER_", "APPLICATION_", "FILLER_", "DISPATCHER_", "WORKER_", "OPERATOR_")
    env = os.environ | {f"VALKEY_{role}PASSWORD": "x" for role in roles}
    command = ["sh", str(ROOT / "deploy/users.sh")]
    printed = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    rules = {line.split()[1]: re.sub(r"\((?!%RW~position:\*).*?\)", "", line) for line in printed.splitlines()}
    folder = ROOT / "rowcache_tasks/schedule/scripts"
    for role, scripts in SCRIPTS.items():
        called = {
            name.lower() for script in scripts for name in re.findall(r"redis\.p?call\(\s*'(\w+)'", read_source(script))
        }
        allowed = {"msetex", *re.findall(r"\+([a-z]+)", rules[role])}  # the script asks whether it may use MSETEX
        assert called - allowed == set(), role
    assert {path.stem for path in folder.glob("*.lua")} == {name for names in SCRIPTS.values() for name in names}


# Dockerfile


def test_image_does_not_run_as_root(services, instructions):
    users = [argument for name, argument in instructions if name == "USER"]
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[-1])
    for name in ("valkey", "postgres"):
        assert services[name]["user"] not in {"root", "0"}


def test_celery_gets_the_signals(instructions):
    entry = [argument for name, argument in instructions if name == "ENTRYPOINT"]
    assert entry == ['["celery", "-A", "rowcache_tasks"]']


def test_final_stage_installs_nothing(instructions):
    last_from = max(index for index, (name, _) in enumerate(instructions) if name == "FROM")
    runs = [argument for name, argument in instructions[last_from:] if name == "RUN"]
    assert not re.search(r"\b(pip|apt|apt-get|gcc)\b", " ".join(runs))


def test_build_context_holds_what_is_copied_and_nothing_else(instructions):
    copies = [argument.split()[:-1] for name, argument in instructions if name == "COPY" and "--from" not in argument]
    copied = {source.removeprefix("./") for sources in copies for source in sources if not source.startswith("--")}
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)


def test_image_is_labelled_with_the_version(instructions):
    labels = dict(re.findall(r'org\.opencontainers\.image\.([\w.]+)="([^"]*)"', dict(instructions)["LABEL"]))
    assert labels["version"] == __version__
    assert {"title", "description", "licenses", "source", "documentation"} < set(labels)
