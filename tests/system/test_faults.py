"""Faults of the file system at writes of every command: one message, nothing wrong left, and the next run completes."""

import pytest

from support.fault_runs import COMMANDS, FaultyRuns, make_workplace
from support.faulty_io import FAULTS

pytestmark = pytest.mark.slow

TRAINING = ("train", "compare", "curve")


@pytest.fixture(scope="module")
def runs(random_model, tmp_path_factory):
    """Return a function that gives the runs of a command."""
    workplace = make_workplace(tmp_path_factory.mktemp("workplace"), random_model.bundle)
    started = {}

    def of(name: str) -> FaultyRuns:
        if name not in started:
            started[name] = FaultyRuns(workplace, name, tmp_path_factory.mktemp("runs"))
        return started[name]

    return of


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_middle_of_classify(runs, fault):
    command = runs("classify")
    trial = command.trial(fault, command.writes // 2)
    assert trial.faults == ()


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("name", COMMANDS)
def test_faults_at_some_writes_of_every_command(runs, name, fault):
    command = runs(name)
    n_trials = 2 if name in TRAINING else 5
    for i in range(n_trials):
        trial = command.trial(fault, 1 + (command.writes - 1) * i // max(1, n_trials - 1))
        assert trial.faults == (), trial
