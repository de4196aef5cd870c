import os
import shutil
import subprocess
import sys
from functools import partial
from types import SimpleNamespace

import pytest

import octavo
from octavo import hardware
from octavo.errors import RecipeError
from octavo.hardware import TARGETS, Cpu, cgroup_quota, choose_threads, default_threads, find_target, usable_cores

AVX512 = {"avx2", "avx512f", "avx512bw"}


def cpu(*features, machine="x86_64"):
    return Cpu("test", machine, frozenset(features), 4)


@pytest.mark.parametrize(
    ("processor", "kind", "saturates"),
    [
        (cpu("sse4_2", "avx2"), "avx2", True),
        (cpu(*AVX512), "avx512", True),
        (cpu("avx2", "avx512f"), "avx2", True),  # AVX-512 without byte instructions has no 512-bit int8 product
        (cpu(*AVX512, "avx512_vnni"), "avx512_vnni", False),
        (cpu("avx2", "avx_vnni"), "avx_vnni", False),
        (cpu(*AVX512, "avx512_vnni", "avx_vnni"), "avx512_vnni", False),
        (cpu("asimd", "asimddp", machine="aarch64"), "arm64", False),
        (cpu(machine="arm64"), "arm64", False),
        (cpu(), "any", True),
        (cpu("sse4_2", "avx"), "any", True),
    ],
)
def test_kind_is_the_most_specific_target_and_knows_whether_products_saturate(processor, kind, saturates):
    assert processor.kind == kind
    assert processor.saturates is saturates


@pytest.mark.parametrize(
    ("told", "name"),
    [("model name\t: 프로세서 7\nflags\t\t: fpu avx2\n", "프로세서 7"), ("Features\t: asimd\n", "asked")],
)
def test_the_name_is_asked_for_only_where_linux_does_not_tell_it(told, name, monkeypatch, tmp_path):
    file, asked = tmp_path / "cpuinfo", []
    file.write_text(told, encoding="utf-8")
    monkeypatch.setattr(hardware, "Path", lambda _: file)
    monkeypatch.setattr(hardware, "usable_cores", lambda: 3)
    monkeypatch.setattr(hardware.platform, "processor", lambda: asked.append(1) or "asked")
    found = hardware.this_cpu.__wrapped__()
    assert (found.name, found.cores, len(asked)) == (name, 3, int(name == "asked"))
    assert found.features <= {"fpu", "avx2", "asimd"}
    assert found.features


def test_find_target_finds_every_target_by_its_name():
    assert [find_target(name).name for name in TARGETS] == list(TARGETS)


def test_find_target_auto_is_this_cpu(monkeypatch):
    monkeypatch.setattr(hardware, "this_cpu", lambda: cpu("avx2", "avx_vnni"))
    assert find_target("auto") == TARGETS["avx_vnni"]


def test_find_target_proposes_the_closest_name():
    with pytest.raises(RecipeError, match=r"unknown target; got: avx512_vni; .*\(did you mean 'avx512_vnni'\?\)"):
        find_target("avx512_vni")


@pytest.fixture
def control_groups(tmp_path):
    """A function that writes the membership of this process and the files of control groups; returns their root."""

    def write(membership, files):
        (tmp_path / "proc/self").mkdir(parents=True)
        (tmp_path / "proc/self/cgroup").write_text(membership, encoding="utf-8")
        for name, text in files.items():
            path = tmp_path / "sys/fs/cgroup" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "150000 100000\n"}, 1.5),  # a container that sees its own group as the root
        ({"a/b/cpu.max": "50000 100000\n"}, 0.5),
        ({"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2.0),  # the parent limits
        ({"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "400000 100000\n"}, 2.0),  # the smallest wins
        ({"a/cpu.max": "400000 100000\n", "a/b/cpu.max": "200000 100000\n"}, 2.0),
        ({"a/b/cpu.max": "60000 20000\n"}, 3.0),  # a period that is not the default
        ({"other/cpu.max": "100000 100000\n", "a/b/c/cpu.max": "100000 100000\n"}, None),  # not on the path
        ({"a/cpu.max": "max 100000\n", "a/b/cpu.max": "max 100000\n"}, None),
        ({}, None),
    ],
)
def test_quota_of_version_2_is_the_smallest_on_the_path(control_groups, files, expected):
    assert cgroup_quota(control_groups("0::/a/b\n", files)) == expected


def test_quota_of_version_2_at_the_root(control_groups):
    assert cgroup_quota(control_groups("0::/\n", {"cpu.max": "250000 100000\n"})) == 2.5


@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct", "cpuacct,cpu"])
def test_quota_of_version_1_is_the_smallest_on_the_path(control_groups, controllers):
    files = {
        "cpu/cpu.cfs_quota_us": "-1\n",
        "cpu/cpu.cfs_period_us": "100000\n",
        "cpu/docker/cpu.cfs_quota_us": "300000\n",
        "cpu/docker/cpu.cfs_period_us": "100000\n",
        "cpu/docker/x/cpu.cfs_quota_us": "350000\n",
        "cpu/docker/x/cpu.cfs_period_us": "100000\n",
    }
    membership = f"12:cpuset:/elsewhere\n4:{controllers}:/docker/x\n1:name=systemd:/docker/x\n"
    assert cgroup_quota(control_groups(membership, files)) == 3.0


def test_quota_of_version_1_without_a_limit(control_groups):
    files = {"cpu/a/cpu.cfs_quota_us": "-1\n", "cpu/a/cpu.cfs_period_us": "100000\n"}
    assert cgroup_quota(control_groups("4:cpu:/a\n", files)) is None


def test_quota_of_version_1_is_not_that_of_another_controller(control_groups):
    files = {"cpu/a/cpu.cfs_quota_us": "100000\n", "cpu/a/cpu.cfs_period_us": "100000\n"}
    assert cgroup_quota(control_groups("4:cpuset,cpuacct:/a\n", files)) is None


def test_quota_reads_both_versions_side_by_side(control_groups):
    files = {"cpu/a/cpu.cfs_quota_us": "200000\n", "cpu/a/cpu.cfs_period_us": "100000\n", "a/cpu.max": "max 100000\n"}
    assert cgroup_quota(control_groups("4:cpu:/a\n0::/a\n", files)) == 2.0


@pytest.mark.parametrize("text", ["", "\n", "100000", "a b", "1 2 3", "1.5 100000", "max", "100000 0"])
def test_malformed_quota_limits_nothing_and_hides_no_other(control_groups, text):
    assert cgroup_quota(control_groups("0::/a\n", {"cpu.max": "300000 100000\n", "a/cpu.max": text})) == 3.0


def test_no_control_groups_no_quota(tmp_path):
    assert cgroup_quota(tmp_path) is None


@pytest.mark.parametrize(
    ("affinity", "quota", "expected"),
    [
        (6, None, 6),
        (6, 2.0, 2),
        (6, 1.5, 2),  # rounded up
        (6, 0.25, 1),
        (2, 64.0, 2),  # a quota larger than the affinity adds no cores
        (1, None, 1),
    ],
)
def test_usable_cores_are_the_affinity_within_the_quota(monkeypatch, affinity, quota, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(10, 10 + affinity)), raising=False)
    monkeypatch.setattr(hardware, "cgroup_quota", lambda root: quota)
    assert usable_cores() == expected


@pytest.mark.parametrize(("count", "expected"), [(5, 5), (None, 1)])
def test_usable_cores_where_the_system_knows_no_affinity(monkeypatch, count, expected):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: count)
    monkeypatch.setattr(hardware, "cgroup_quota", lambda root: None)
    assert usable_cores() == expected


# Threads as granted


def ray_of(resources, *, initialized=True):
    """What `ray` is in a worker that has these resources, None: in a driver."""

    def assigned():
        assert resources is not None, "This method is only available when the process is a worker."
        return resources

    context = SimpleNamespace(get_assigned_resources=assigned)
    return SimpleNamespace(is_initialized=lambda: initialized, get_runtime_context=lambda: context)


@pytest.fixture
def machine(monkeypatch):
    """A machine of 16 processors, of which 8 may be used; its function sets who grants how many."""
    monkeypatch.setattr(os, "cpu_count", lambda: 16)
    monkeypatch.setattr(hardware, "usable_cores", lambda: 8)

    def grant(ray=None, openmp=None):
        monkeypatch.setitem(sys.modules, "ray", ray)
        monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
        if openmp is not None:
            monkeypatch.setenv("OMP_NUM_THREADS", openmp)

    return grant


@pytest.mark.parametrize(
    ("ray", "openmp", "expected"),
    [
        (None, None, (8, "affinity and control group")),
        (None, "3", (3, "OMP_NUM_THREADS")),
        (None, "12", (12, "OMP_NUM_THREADS")),  # said, as by an argument
        (None, "4,3,2", (4, "OMP_NUM_THREADS")),  # by level of nesting
        (None, "64", (16, "OMP_NUM_THREADS")),  # written for another machine
        *((None, text, (8, "affinity and control group")) for text in ("", "0", "-1", "two", "1.5", "²")),
        (ray_of({"CPU": 2.0}), "5", (2, "Ray")),
        (ray_of({"CPU": 0.5}), "5", (1, "Ray")),
        (ray_of({"CPU": 2.5}), None, (2, "Ray")),
        (ray_of({"CPU": 99.0}), None, (16, "Ray")),
        (ray_of({"GPU": 1.0}), "1", (1, "OMP_NUM_THREADS")),  # an actor that asked for no CPU: Ray sets the variable
        (ray_of({}), None, (8, "affinity and control group")),
        (ray_of(None), "3", (3, "OMP_NUM_THREADS")),  # a driver
        (ray_of({"CPU": 2.0}, initialized=False), None, (8, "affinity and control group")),
        (SimpleNamespace(), None, (8, "affinity and control group")),  # is being imported by another thread
    ],
)
def test_threads_are_those_that_were_granted(machine, ray, openmp, expected):
    machine(ray, openmp)
    assert default_threads() == expected
    assert choose_threads(None) == expected[0]
    assert choose_threads(7) == 7


def test_a_doctor_tells_by_what(machine):
    machine(ray_of({"CPU": 2.0}))
    assert octavo.doctor().choices["threads 2"] == "by default, from Ray"


DEFAULT = "from octavo.hardware import default_threads\nprint(*default_threads())"


def test_affinity_and_variable_of_a_real_process(monkeypatch):
    run = partial(subprocess.run, capture_output=True, text=True, check=True)
    if shutil.which("taskset") is None:
        pytest.skip("taskset (util-linux) is not installed")
    one = ["taskset", "-c", str(min(os.sched_getaffinity(0))), sys.executable, "-c", DEFAULT]
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert run(one).stdout == "1 affinity and control group\n"
    asked = run([sys.executable, "-c", DEFAULT], env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert asked.stdout == "1 OMP_NUM_THREADS\n"


@pytest.mark.slow
def test_real_actors_of_ray(monkeypatch, made_before):
    ray = pytest.importorskip("ray", reason="ray is not installed")
    for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # by default it writes a token into the user's home

    class Asked:
        def threads(self, folder):
            predictor = octavo.load(folder)
            return default_threads()[1], predictor.session.threads, os.environ["RAYON_NUM_THREADS"]

    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(sys.path)}}
    with ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, runtime_env=environment):
        actors = [ray.remote(num_cpus=cpus)(Asked).remote() for cpus in (1, 2, 0)]
        found = ray.get([actor.threads.remote(str(made_before)) for actor in actors])
        assert found[:2] == [("Ray", 1, "1"), ("Ray", min(2, os.cpu_count()), "2")]
        assert found[2][1] == 1  # Ray sets OMP_NUM_THREADS of an actor that has no CPU of its own
        assert default_threads()[1] == "affinity and control group"  # the driver is granted nothing
