"""What a runtime says that its machine has."""

from runtimes.options import count_gpus


def test_gpus_are_counted_by_their_device_files(tmp_path):
    assert 0 == count_gpus(tmp_path)
    for name in ("nvidia0", "nvidia1", "nvidia10", "nvidiactl", "nvidia-uvm", "nvidia0-old"):
        (tmp_path / name).touch()
    assert 3 == count_gpus(tmp_path)
