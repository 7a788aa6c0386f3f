"""JSON of other programs in the way of results: refused or recomputed in one sentence, whatever it contains."""

import pytest

from soundmark.errors import OutputError
from soundmark.evaluation.comparison import check_same_data
from soundmark.evaluation.model_evaluation import check_same_run
from soundmark.training.run_folder import is_of_earlier_run

DEEP = "[" * 100_000 + "]" * 100_000
NOT_OURS = pytest.mark.parametrize(
    "content", [DEEP, "[1]", "1", '{"results": 1}'], ids=["deep", "list", "number", "object"]
)


@NOT_OURS
@pytest.mark.parametrize("name", ["metrics.json", "checkpoint.safetensors"])
def test_a_foreign_file_is_not_one_of_an_earlier_run(tmp_path, name, content):
    (tmp_path / name).write_text(content)
    assert not is_of_earlier_run(tmp_path / name)


@NOT_OURS
def test_evaluate_refuses_a_folder_with_a_foreign_metrics_file(tmp_path, content):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(OutputError, match="Choose"):
        check_same_run(tmp_path, {}, "metrics.json")


@NOT_OURS
def test_compare_takes_a_foreign_metrics_file_for_a_damaged_one(tmp_path, city, content, caplog):
    (tmp_path / "metrics.json").write_text(content)
    check_same_data(tmp_path, city)
    assert "metrics.json" in caplog.text
