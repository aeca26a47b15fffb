"""What makes two machines comparable."""

from __future__ import annotations

from replayer.host import HostFacts, host_facts


def _facts(**changes):
    values = {"cpu_model": "AMD EPYC", "cores": 2, "kernel": "Linux 6.18.3-generic", "python": "3.13.5"}
    return HostFacts(**{**values, **changes})


def test_a_patch_of_kernel_or_python_makes_no_other_class():
    """Series count, patches do not."""
    usual = _facts().host_class
    assert usual == "AMD EPYC x 2, Linux 6.18, Python 3.13"
    assert _facts(kernel="Linux 6.18.9-other", python="3.13.7").host_class == usual
    unlike = [_facts(cores=4), _facts(cpu_model="ARM"), _facts(kernel="Linux 6.6.1"), _facts(python="3.11.2")]
    assert usual not in {facts.host_class for facts in unlike}


def test_the_processor_is_read_where_linux_tells_it(tmp_path):
    """Its first model name; elsewhere whatever Python knows."""
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("processor\t: 0\nmodel name\t: Fast CPU 3000\nprocessor\t: 1\nmodel name\t: Other\n")
    assert host_facts(cpuinfo).cpu_model == "Fast CPU 3000"
    assert host_facts(tmp_path / "absent").cpu_model
    assert host_facts().cores >= 1
