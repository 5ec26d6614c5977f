"""A sum over processes that Ctrl-C or a lost process ends: what Gloo's thread holds must be free by then."""

import signal
import weakref

import pytest
import torch

from spikeloop.distill.parallel import Ranks
from spikeloop.simulator.errors import SimulationError


@pytest.fixture
def ctrl_c():
    """Ctrl-C raises KeyboardInterrupt, also where these tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("other_is_gone", [False, True])
def test_ctrl_c_within_a_sum_waits_for_its_end(monkeypatch, ctrl_c, other_is_gone):
    done = []

    def all_reduce(values):
        signal.raise_signal(signal.SIGINT)
        values.add_(1)  # the interpreter has looked for signals by now
        done.append(values)
        if other_is_gone:
            raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    with pytest.raises(KeyboardInterrupt):
        Ranks(rank=1, world_size=2).total(torch.zeros(3))
    assert [values.tolist() for values in done] == [[1.0, 1.0, 1.0]]
    assert signal.getsignal(signal.SIGINT) is ctrl_c


def test_the_loss_of_another_process_keeps_nothing_of_the_sum_alive(monkeypatch):
    """What is alive at the end of the interpreter is freed by a thread of Gloo, which aborts the process."""
    alive = []

    def all_reduce(values):
        work = torch.zeros(1)
        alive.append(weakref.ref(work))
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(torch.distributed, "all_reduce", all_reduce)
    with pytest.raises(SimulationError, match="another process of this training is gone") as raised:
        Ranks(rank=1, world_size=2).total(torch.zeros(3))
    assert raised.tb is not None  # held, with all frames it came through
    assert [ref() for ref in alive] == [None]
