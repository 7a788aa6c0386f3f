"""CSV tables of clips, with one label or several labels per clip."""

from pathlib import Path

import numpy as np
import pytest

from soundmark.datasets import Dataset, Skipped
from soundmark.datasets.layouts.table_reader import Row, existing_clips
from soundmark.errors import DatasetError
from support.layouts import write_labels, write_table, write_tone
from support.operations import operations


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """A folder with two sound files of 1 s and 2 s."""
    write_tone(tmp_path / "rex.wav", 1.0)
    write_tone(tmp_path / "mia.wav", 2.0)
    return tmp_path


# --- One label per clip -----------------------------------------------------------------------------------------------


def test_rows(tmp_path: Path):
    data = Dataset.open(write_labels(tmp_path))
    assert (data.name, data.root) == ("labels", tmp_path / "pets")
    assert data.classes == ("dog", "cat")  # in order of appearance
    rex, mia = data.clips
    assert (rex.start_s, rex.stop_s, rex.fold, rex.source) == (0.0, 1.5, 1, "r1")
    assert (mia.path, mia.start_s, mia.stop_s, mia.source) == (data.root / "sub" / "mia.wav", 0.0, None, None)
    assert data.skipped == (Skipped("gone.wav", "row 3: the file does not exist"),)
    assert data.window_s == 1.5


@pytest.mark.parametrize("column", ["source", "Recording", "recording_id", "source_recording"])
def test_the_recording_of_a_clip_may_have_the_usual_column_names(pets: Path, column: str):
    (pets / "t.csv").write_text(f"path,label,{column}\nrex.wav,dog,r1\nmia.wav,cat,\n")
    assert [clip.source for clip in Dataset.open(pets / "t.csv").clips] == ["r1", None]


@pytest.mark.parametrize(
    "sounds", [["clips/rex.wav", "clips/mia.wav"], ["rex.wav", "mia.wav"], ["rex.wav", "more/mia.wav"]]
)
def test_a_folder_with_sounds_and_one_table_is_one_data_set(tmp_path: Path, sounds: list[str]):
    for number, name in enumerate(sounds):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write_tone(tmp_path / name, 1.0 + number)
    (tmp_path / "readme.txt").write_text("path of the label\n")
    write_table(tmp_path / "table.csv", "path,label,start,end", f"{sounds[0]},dog,0,1", f"{sounds[1]},cat,0,1")
    data = Dataset.open(tmp_path)
    assert [(data.relative_path(clip), clip.label) for clip in data.clips] == [(sounds[0], "dog"), (sounds[1], "cat")]
    assert data.name == "table"


def test_folders_of_classes_are_not_read_by_a_table_beside_them(tmp_path: Path):
    for label in ("dog", "cat"):
        (tmp_path / label).mkdir()
        write_tone(tmp_path / label / "a.wav", 1.0)
    write_table(tmp_path / "table.csv", "path,label", "dog/a.wav,wolf")
    assert Dataset.open(tmp_path).classes == ("cat", "dog")


def test_a_folder_with_two_tables_is_an_error(pets: Path):
    for name in ("a.csv", "b.csv"):
        write_table(pets / name, "path,label", "rex.wav,dog", "mia.wav,cat")
    with pytest.raises(DatasetError, match=r'has several tables of clips: "a.csv" and "b.csv". Give the path of one'):
        Dataset.open(pets)


def test_the_class_order_can_be_given(pets: Path):
    path = write_table(pets / "t.csv", "path,label", "rex.wav,dog", "mia.wav,cat")
    assert Dataset.open(path, classes=["cat", "dog", "fox"]).labels.tolist() == [1, 0]
    with pytest.raises(DatasetError, match=r'row 3: .*label "cat".*Known: dog, cut'):
        Dataset.open(path, classes=["dog", "cut"])


def test_the_window_is_as_long_as_the_longest_clip(pets: Path):
    assert Dataset.open(write_table(pets / "t.csv", "path,label", "rex.wav,dog", "rex.wav,cat")).window_s == 1.0
    assert Dataset.open(write_table(pets / "t.csv", "path,label,start", "mia.wav,dog,0.5")).window_s == 1.5


@pytest.mark.parametrize(
    ("rows", "encoding"),
    [
        (["path,label,fold", "rex.wav,dog,1", "mia.wav,cat,2"], "utf-8"),
        (["path,label,fold", "rex.wav,dog,1", "mia.wav,cat,2"], "utf-8-sig"),
        (["Path;LABEL; Fold ", "rex.wav;dog;1", "mia.wav;cat;2"], "utf-8"),
        (["fold\tlabel\tpath", "1.0\tdog\trex.wav", "", "2.0\tcat\tmia.wav", "\t\t"], "utf-8"),
        (["path,label,fold,", '"rex.wav","dog",1,', " mia.wav , cat , 2 ,"], "utf-8"),
        (["path,label,fold\r", "rex.wav,dog,1\r", "mia.wav,cat,2\r"], "utf-8"),
        (["path,label,fold", ".\\rex.wav,dog,1", "sub\\..\\mia.wav,cat,2"], "utf-8"),
        (["", "path,label,fold", "rex.wav,dog,1", "mia.wav,cat,2"], "utf-8"),
        (["sep=;", "path;label;fold", "rex.wav;dog;1", "mia.wav;cat;2"], "utf-8-sig"),
    ],
)
def test_csv_dialects(pets: Path, rows: list[str], encoding: str):
    (pets / "sub").mkdir()
    data = Dataset.open(write_table(pets / "t.csv", *rows, encoding=encoding))
    assert [(data.relative_path(clip), clip.label, clip.fold) for clip in data.clips] == [
        ("rex.wav", "dog", 1),
        ("mia.wav", "cat", 2),
    ]
    assert data.skipped == ()


def test_quotes_and_non_ascii_letters(tmp_path: Path):
    write_tone(tmp_path / "grüße, laut.wav")
    data = Dataset.open(
        write_table(tmp_path / "t.csv", "path,label", '"grüße, laut.wav","Hund, ""Rex"""', '"grüße, laut.wav",a b')
    )
    assert data.classes == ('Hund, "Rex"', "a b")


def test_a_duplicate_row_is_skipped(pets: Path):
    rows = ["path,label,start,end", "rex.wav,dog,0,1", "rex.wav,cat,0,1", "rex.wav,dog,0.0,1.0"]
    data = Dataset.open(write_table(pets / "t.csv", *rows))
    assert [clip.label for clip in data.clips] == ["dog", "cat"]
    assert data.skipped == (Skipped("rex.wav", "row 4: duplicate of row 2"),)


def test_times_with_a_decimal_comma_are_read_from_a_table_with_semicolons(pets: Path):
    rows = ["path;label;start;end;fold", "rex.wav;dog;0,125;1,5;1", "mia.wav;cat;0.25;2;2"]
    data = Dataset.open(write_table(pets / "t.csv", *rows))
    assert [(clip.start_s, clip.stop_s, clip.fold) for clip in data.clips] == [(0.125, 1.5, 1), (0.25, 2.0, 2)]


def test_salience_and_time(pets: Path):
    rows = ["path,label,salience,time", "rex.wav,dog,2,2024-05-01T13:00:00", "mia.wav,cat,Foreground,"]
    first, second = Dataset.open(write_table(pets / "t.csv", *rows)).clips
    assert (first.salience, first.time) == ("background", "2024-05-01T13:00:00")
    assert (second.salience, second.time) == ("foreground", None)


def test_files_can_be_outside_the_folder_of_the_table(pets: Path):
    path = write_table(pets / "meta" / "t.csv", "path,label", "../rex.wav,dog", f"{pets / 'mia.wav'},cat")
    data = Dataset.open(path)
    assert [data.relative_path(clip) for clip in data.clips] == ["../rex.wav", "../mia.wav"]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["path,colour", "rex.wav,dog"], r't.csv" has no column "label". Columns found: path, colour'),
        ([""], r'has no column "path". Columns found: none'),
        (["path,label"], r"lists no clips: it has a header but no rows"),
        (["path,label,Label", "rex.wav,dog,cat"], r'has two columns named "label": rename or remove one'),
        (["path,label", "rex.wav,dog,big"], r"row 2 has 3 cells but the header has 2 columns: put quotes"),
        (["path,label", "rex.wav"], r'row 2: label="" must not be empty'),
        (["path,label", "rex.wav,dog", " ,cat"], r'row 3: path="" must not be empty'),
        (["path,label,fold", "rex.wav,dog,0"], r'row 2: fold="0" must be a whole number, from 1 to 10000'),
        (["path,label,fold", "rex.wav,dog,10001"], r'fold="10001" must be a whole number, from 1 to 10000'),
        (["path,label,fold", f"rex.wav,dog,{'9' * 20}"], r'fold="9+" must be a whole number, from 1 to 10000'),
        (["path,label,fold", "rex.wav,dog,-1"], r'row 2: fold="-1" must be a whole number'),
        (["path,label,fold", "rex.wav,dog,1.5"], r'row 2: fold="1.5" must be a whole number'),
        (["path,label,fold", "rex.wav,dog,²"], r'row 2: fold="²" must be a whole number'),
        (["path,label,start", "rex.wav,dog,one"], r'row 2: start="one" must be a number of seconds, 0 or more'),
        (["path,label,start", "rex.wav,dog,-1"], r'row 2: start="-1" must be a number of seconds'),
        (["path,label,end", "rex.wav,dog,nan"], r'row 2: end="nan" must be a number of seconds'),
        (["path,label,end", "rex.wav,dog,inf"], r'row 2: end="inf" must be a number of seconds'),
        (["path,label,end", 'rex.wav,dog,"1,5"'], r'end="1,5" must be a number of seconds, 0 or more, for example 1.5'),
        (["path;label;end", "rex.wav;dog;1.234,5"], r'end="1.234,5" must be a number of seconds'),
        (["path\tlabel\tend", "rex.wav\tdog\t1,5"], r'end="1,5" must be a number of seconds'),
        (["path,label,start,end", "rex.wav,dog,2,2"], r'row 2: end="2" must be greater than start=2'),
        (["path,label,start,end", "rex.wav,dog,2,1"], r'row 2: end="1" must be greater than start=2'),
        (["path,label", "a.wav,dog", "b.wav,dog"], r'none of the files listed in ".*t.csv" exists; row 2: ".*a.wav"'),
        (["path,label", '"rex.wav,dog'], r"is not a valid CSV table \(unexpected end of data\): check that all quotes"),
    ],
)
def test_an_invalid_table_is_an_error(pets: Path, rows: list[str], message: str):
    with pytest.raises(DatasetError, match=message):
        Dataset.open(write_table(pets / "t.csv", *rows))


@pytest.mark.parametrize("encoding", ["latin-1"])
def test_an_unsupported_encoding_is_an_error(pets: Path, encoding: str):
    with pytest.raises(DatasetError, match=r't.csv" is not UTF-8 text .*: save it as "CSV UTF-8"'):
        Dataset.open(write_table(pets / "t.csv", "path,label", "rex.wav,Bär", encoding=encoding))


# --- Several labels per clip ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows",
    [
        ["path,label", "rex.wav, siren ;dog", "mia.wav,dog", "one.wav,", "two.wav,dog;siren;dog; "],
        ["path;label", 'rex.wav;" siren ;dog"', "mia.wav;dog", "one.wav;", 'two.wav;"dog;siren;dog; "'],
        ["label\tpath", "siren;dog\trex.wav", "dog\tmia.wav", "\tone.wav", "dog;siren\ttwo.wav"],
        ["sep=;", "path;label", 'rex.wav;"siren;dog"', "mia.wav;dog", 'one.wav;";"', 'two.wav;"dog;siren"'],
    ],
)
def test_several_labels_in_a_cell_make_the_table_multi_label(pets: Path, rows):
    for name in ("one.wav", "two.wav"):
        write_tone(pets / name)
    data = Dataset.open(write_table(pets / "t.csv", *rows))
    assert data.multi_label
    assert data.classes == ("siren", "dog")
    assert [clip.label for clip in data.clips] == ["siren;dog", "dog", "", "siren;dog"]  # equal sets, equal labels
    assert data.targets.tolist() == [[1, 1], [0, 1], [0, 0], [1, 1]]
    assert data.targets.dtype == np.float32
    assert not data.targets.flags.writeable
    assert data.select([2, 1]).multi_label
    assert data.select([2, 1]).targets.tolist() == [[0, 0], [0, 1]]


def test_multi_label_data_have_targets_instead_of_labels(pets: Path):
    data = Dataset.open(write_table(pets / "t.csv", "path,label", "rex.wav,dog;siren", "mia.wav,dog"))
    with pytest.raises(DatasetError, match=r"t is multi-label: .* Use `targets` .* instead of `labels`"):
        data.labels  # noqa: B018


def test_a_semicolon_as_the_column_delimiter_does_not_separate_labels(pets: Path):
    data = Dataset.open(write_table(pets / "t.csv", "path;label", "rex.wav;dog", "mia.wav;siren"))
    assert not data.multi_label
    assert data.labels.tolist() == [0, 1]
    assert data.targets.tolist() == [[1, 0], [0, 1]]
    with pytest.raises(DatasetError, match=r"row 2 has 3 cells but the header has 2 columns: put quotes"):
        Dataset.open(write_table(pets / "t.csv", "path;label", "rex.wav;dog;siren"))


def test_given_classes_apply_to_each_label_of_a_cell(pets: Path):
    path = write_table(pets / "t.csv", "path,label", "rex.wav,dog;siren", "mia.wav,dog")
    assert Dataset.open(path, classes=["siren", "dog", "fox"]).targets.tolist() == [[1, 1, 0], [0, 1, 0]]
    single = Dataset.open(path, classes=["dog;siren", "dog"])  # "dog;siren" is then one class
    assert (single.multi_label, single.labels.tolist()) == (False, [0, 1])
    with pytest.raises(DatasetError, match=r't.csv", row 2: .*label "siren".*Known: dog, fox'):
        Dataset.open(path, classes=["dog", "fox"])


def test_rows_with_the_same_labels_in_another_order_are_duplicates(pets: Path):
    data = Dataset.open(write_table(pets / "t.csv", "path,label", "rex.wav,dog;siren", "rex.wav,siren;dog"))
    assert data.skipped == (Skipped("rex.wav", "row 3: duplicate of row 2"),)


# --- Large tables -----------------------------------------------------------------------------------------------------


def test_the_cost_of_a_wide_table_is_linear_in_its_columns(pets: Path):
    def table(n: int) -> Path:
        names, cells = ",".join(f"c{column}" for column in range(n)), "," * (n - 1)
        return write_table(pets / f"{n}.csv", f"path,label,{names}", f"rex.wav,dog,{cells}")

    narrow, wide = table(500), table(4000)
    assert len(Dataset.open(wide)) == 1
    assert operations(lambda: Dataset.open(wide)) < 9 * operations(lambda: Dataset.open(narrow))


def test_the_cost_of_a_table_is_linear_in_its_classes(pets: Path):
    """Comparisons with known class names are counted: ``classes`` compares its elements."""

    class Name(str):
        compared = 0
        __slots__ = ()
        __hash__ = str.__hash__

        def __eq__(self, other: object) -> bool:
            Name.compared += 1
            return str.__eq__(self, other)

    rows = [f"rex.wav,class {number};dog" for number in range(300)]
    table = write_table(pets / "t.csv", "path,label", *rows)
    data = Dataset.open(table, classes=[Name("dog"), *(Name(f"class {number}") for number in range(300))])
    assert data.clips[7].label == "dog;class 7"
    assert Name.compared < 10 * len(rows)


def test_the_message_for_a_wide_table_names_only_its_first_columns(pets: Path):
    table = write_table(pets / "t.csv", ",".join(f"c{column}" for column in range(30_000)), "x")
    with pytest.raises(
        DatasetError, match=r'has no column "path". Columns found: c0, c1, .*, c19, … \(30,000 columns\)\.$'
    ):
        Dataset.open(table)


@pytest.mark.parametrize(
    ("column", "row", "message"),
    [
        ("start", "rex.wav,dog,1e308,", 'row 2: start="1e308" must be at most 1000000000 seconds'),
        ("end", "rex.wav,dog,0,1e308", 'row 2: end="1e308" must be at most 1000000000 seconds'),
        ("label", f"rex.wav,{'x' * 50_000},0,1", "xxx…xxx.*has 50,000 characters: a label may have at most 1,000"),
        ("label of several", f"rex.wav,dog;{'x' * 50_000},0,1", "has 50,000 characters: a label may have"),
    ],
    ids=["start", "end", "label", "one of several labels"],
)
def test_a_huge_time_or_label_is_refused(pets: Path, column: str, row: str, message: str):
    (pets / "labels.csv").write_text(f"path,label,start,end\n{row}\n")
    with pytest.raises(DatasetError, match=message):
        Dataset.open(pets / "labels.csv")


def test_a_path_with_a_nul_character_is_skipped_with_the_reason(pets: Path):
    (pets / "labels.csv").write_text("path,label\nrex.wav,dog\nmi\0a.wav,cat\n")
    skipped = Dataset.open(pets / "labels.csv").skipped
    assert [one.reason for one in skipped] == ["row 3: its path contains a NUL character"]
    (pets / "labels.csv").write_text("path,label\nrex.wav,dog\ns\0b/mia.wav,cat\n")
    skipped = Dataset.open(pets / "labels.csv").skipped
    assert [one.reason for one in skipped] == ["row 3: its path contains a NUL character"]


@pytest.mark.parametrize("name", ["x/" * 3000 + "mia.wav", "a" * 300 + "/mia.wav", "a" * 300 + ".wav", "loop/mia.wav"])
def test_a_path_that_no_file_can_have_is_skipped_with_the_reason(pets: Path, name: str):
    (pets / "loop").symlink_to("loop")
    (pets / "labels.csv").write_text(f"path,label\nrex.wav,dog\n{name},cat\n")
    data = Dataset.open(pets / "labels.csv")
    assert len(data) == 1
    assert data.skipped[0].reason.startswith("row 3: the ")


def test_a_table_whose_rows_are_all_left_out_is_one_message(tmp_path):
    with pytest.raises(DatasetError, match="lists no usable clip: it has no rows of clips. Correct the table."):
        existing_clips(tmp_path, [])
    row = Row(tmp_path / "t.csv", 3, {})
    with pytest.raises(DatasetError, match='lists no usable clip: "a.wav": row 3: its path is too long. Correct'):
        existing_clips(tmp_path, [(row, Skipped("a.wav", "row 3: its path is too long"))])
