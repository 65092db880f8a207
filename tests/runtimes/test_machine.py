"""What a runtime says that its machine has, from files as systems have them."""

import os
import platform

import pytest

from runtimes.machine import (
    count_cores,
    count_gpus,
    count_memory,
    cpu_model,
    gpu_model,
    own_groups,
)

HERE = len(os.sched_getaffinity(0))
UNIFIED = "31 23 0:28 {top} /sys/fs/cgroup rw - cgroup2 cgroup2 rw,nsdelegate\n"
DIVIDED = (
    "30 23 0:27 / /sys/fs/cgroup rw - tmpfs tmpfs rw,mode=755\n"
    "31 30 0:28 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "32 30 0:29 {top} /sys/fs/cgroup/cpu,cpuacct rw master:9 - cgroup cgroup rw,cpu,cpuacct\n"
)


@pytest.fixture
def write(tmp_path):
    """Write files below the root of a machine; gives that root."""

    def make(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return tmp_path

    return make


def unified(top, path):
    return {"proc/self/mountinfo": UNIFIED.format(top=top), "proc/self/cgroup": f"0::{path}\n"}


def divided(top, path):
    groups = f"4:memory:{path}\n3:cpu,cpuacct:{path}\n1:name=systemd:/\n0::/\n"
    return {"proc/self/mountinfo": DIVIDED.format(top=top), "proc/self/cgroup": groups}


def test_without_limits_it_is_all_there_is(tmp_path):
    assert (HERE, 0) == (count_cores(tmp_path), count_gpus(tmp_path))
    assert os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20 == count_memory(
        tmp_path
    )


@pytest.mark.parametrize(
    "files",
    [
        {
            **unified("/", "/a/b"),
            "sys/fs/cgroup/a/memory.max": "67108864\n",
            "sys/fs/cgroup/a/cpu.max": "150000 100000\n",
            "sys/fs/cgroup/a/b/memory.max": "max\n",
            "sys/fs/cgroup/a/b/cpu.max": "max 100000\n",
        },
        {  # as a container with a view of its own has it
            **unified("/", "/"),
            "sys/fs/cgroup/memory.max": "67108864\n",
            "sys/fs/cgroup/cpu.max": "50000 100000\n",
        },
        {
            **divided("/", "/a/b"),
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "67108864\n",
            "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "-1\n",
            "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
        },
        {  # as a container has it whose own group is mounted where the host has all
            **divided("/docker/1f", "/docker/1f"),
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "67108864\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "100000\n",
            "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
        },
    ],
    ids=["version 2", "version 2 in a container", "version 1", "version 1 in a container"],
)
def test_the_strictest_limit_of_a_group_and_those_above_it_holds(write, files):
    root = write(files)
    assert (1, 64) == (count_cores(root), count_memory(root))


def test_a_quota_above_the_cores_gives_no_more_of_them(write):
    root = write({**unified("/", "/"), "sys/fs/cgroup/cpu.max": "99900000 100000\n"})
    assert HERE == count_cores(root)


def test_a_group_that_is_not_seen_here_counts_as_the_one_that_is(write):
    root = write(unified("/elsewhere", "/a"))
    assert [root / "sys/fs/cgroup"] == [group.folder for group in own_groups(root)]


def test_gpus_of_nvidia_are_counted_by_their_device_files(write):
    names = ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm", "nvidia0-old")
    assert 3 == count_gpus(write({f"dev/{name}": "" for name in names}))


def test_gpus_of_amd_are_counted_where_their_device_files_are_here(write):
    nodes = "sys/class/kfd/kfd/topology/nodes"
    gpu = "cpu_cores_count 0\nsimd_count 240\nvendor_id 4098\ndrm_render_minor {}\n"
    files = {
        f"{nodes}/0/properties": "cpu_cores_count 64\nsimd_count 0\ndrm_render_minor 0\n",
        f"{nodes}/1/properties": gpu.format(128),
        f"{nodes}/2/properties": gpu.format(129),
        f"{nodes}/3/properties": "",  # another container's, which says nothing
        "dev/dri/renderD128": "",
    }
    assert 1 == count_gpus(write(files))
    assert 3 == count_gpus(write({"dev/dri/renderD129": "", "dev/nvidia0": ""}))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("processor\t: 0\nmodel\t\t: 1\nmodel name\t: Some CPU @ 3GHz\n", "Some CPU @ 3GHz"),
        ("model name\t: \x1b[2J \udcff\u2028Some\n", "[2J Some"),
        ("model name\t:\nmodel name\t: " + "x" * 300, "x" * 256),
        ("processor\t: 0\n", platform.machine()),
        ("", platform.machine()),
    ],
)
def test_the_model_of_the_cpu_is_what_can_be_read_of_it(tmp_path, text, expected):
    assert platform.machine() == cpu_model(tmp_path)
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_bytes(text.encode(errors="surrogateescape"))
    assert expected == cpu_model(tmp_path)


def test_the_models_of_gpus_are_those_that_their_drivers_name(write):
    nvidia = "proc/driver/nvidia/gpus/0000:{}:00.0/information"
    files = {
        nvidia.format("3b"): "Model: \t\t NVIDIA A100\nIRQ:   \t\t 90\n",
        nvidia.format("af"): "Model: \t\t NVIDIA A100\n",
        nvidia.format("d8"): "IRQ:   \t\t 91\n",
        "sys/class/drm/card1/device/product_name": "Instinct MI210\n",
        "sys/class/drm/card1-DP-1/status": "connected\n",
    }
    assert "" == gpu_model(write(files))
    assert "NVIDIA A100, Instinct MI210" == gpu_model(write({"dev/nvidia0": ""}))
