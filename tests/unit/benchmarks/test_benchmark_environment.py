"""The environments of contenders: kept when they are right, left out with one line when they cannot be made."""

import sys

import psutil
import pytest

from benchmarks import environment
from benchmarks.processor import Processor


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "HOME", tmp_path)
    return tmp_path


def make_by_hand(home, *lines):
    interpreter = home / "some" / "bin" / "python"
    interpreter.parent.mkdir(parents=True)
    interpreter.touch()
    (home / "some" / "packages.txt").write_text("\n".join([sys.version.split()[0], *lines, ""]))
    return str(interpreter)


def test_environment_with_the_same_packages_is_kept(home, monkeypatch):
    interpreter = make_by_hand(home, "alpha==1", "beta==2")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")

    assert environment.python("some", ["beta==2", "alpha==1"]) == interpreter


def test_environment_that_cannot_be_made_says_why_in_one_line(home, monkeypatch):
    make_by_hand(home, "alpha==1")
    monkeypatch.setattr(sys, "executable", str(home / "python"))

    with pytest.raises(
        environment.NoEnvironmentError, match=r"some is left out: cannot install alpha==2: .*No such file"
    ):
        environment.python("some", ["alpha==2"])

    assert not (home / "some").exists()


def test_installation_that_fails_says_why_in_one_line():
    code = "import sys; sys.exit('WARNING: Retrying after connection broken by this\\nERROR: No matching distribution')"

    with pytest.raises(environment.NoEnvironmentError) as raised:
        environment._run("some", ["alpha==2"], [sys.executable, "-c", code])

    assert str(raised.value) == "some is left out: cannot install alpha==2: the package index does not answer"


def test_first_error_of_pip_is_the_reason():
    output = (
        "WARNING: one\nERROR: Cannot install a==1 and b==2: they conflict\nERROR: ResolutionImpossible: see there\n"
    )

    assert environment._first_error(output) == "Cannot install a==1 and b==2: they conflict"
    assert environment._first_error("Error: no space\n") == "Error: no space"
    assert environment._first_error("") == "no message"


def test_contenders_have_the_drivers_of_this_process():
    assert environment.same("redis", "kombu[redis]")[0].startswith("redis==8.")
    assert environment.same("redis", "kombu[redis]")[1].startswith("kombu[redis]==5.")


def test_processor_time_of_a_group_is_that_of_its_children_too():
    burn = "import time\nwhile time.process_time() < 0.2: pass\nprint(1, flush=True)\ntime.sleep(60)"
    code = f"import subprocess, sys\nsys.stdin.readline()\nsubprocess.run([sys.executable, '-c', {burn!r}])"
    with psutil.Popen([sys.executable, "-c", code], stdin=-1, stdout=-1) as process:
        processor = Processor({"all": [process.pid], "none": []})
        process.stdin.write(b"\n")
        process.stdin.flush()
        process.stdout.readline()
        used = processor.used()
        for each in [*process.children(recursive=True), process]:
            each.kill()

    assert used["all"] >= 0.15
    assert used["none"] == 0
