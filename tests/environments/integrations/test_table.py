"""The table of the documentation is what the trainings show: `python -m tests.environments.integrations.table` writes it."""

import pytest

from tests.environments.integrations import table, trainings


@pytest.mark.parametrize("training", trainings.ALL, ids=lambda training: training.name)
@pytest.mark.parametrize("face", table.FACES)
def test_the_page_has_what_is_measured(training: trainings.Training, face: str) -> None:
    line = table.row(training, face, table.measure(training, face))
    assert line in table.PAGE.read_text().splitlines()
