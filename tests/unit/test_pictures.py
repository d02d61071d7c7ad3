"""The picture of a replay: an image, or a page that needs nothing else."""

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandit.errors import InvalidInput
from sim.common.page import FAINT, INK, PAPER, SENDS, SILENCE, spread
from sim.replay.picture import check_picture_path, write_picture
from tests.unit.test_replay_result import make_result

ROOT = Path(__file__).parents[2]
RESULT = make_result([0, 1, 2, 1] * 100)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("pictures") / "replay.html"
    write_picture(RESULT, path)
    return path.read_text(encoding="utf-8")


def test_a_png_is_an_image_of_1500_by_990_pixels(tmp_path: Path) -> None:
    path = tmp_path / "replay.PNG"
    write_picture(RESULT, path)
    content = path.read_bytes()
    assert content.startswith(b"\x89PNG\r\n\x1a\n")
    assert (int.from_bytes(content[16:20]), int.from_bytes(content[20:24])) == (1500, 990)


def test_a_page_runs_no_script_and_loads_nothing(page: str) -> None:
    assert "<script" not in page
    assert not re.search(r"""(?:src|href)\s*=\s*["'](?!#)""", page)
    assert not re.search(r"@import|url\((?!#)", page)
    assert set(re.findall(r"https?://[^\s\"'<]+", page)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1999/xlink",
    }


def test_a_page_has_one_inline_drawing_and_the_numbers_as_text(page: str) -> None:
    assert page.count("<svg") == 1
    assert "<?xml" not in page
    assert "<td>400 (33.3%)</td>" in page


def test_a_page_shows_names_as_they_are_spelt(page: str) -> None:
    assert "hello &lt;b&gt;" in page
    assert "hello <b>" not in page.replace("<!-- ", "").split("<table>")[1]


def test_a_page_has_every_colour_once_for_light_and_once_for_dark(page: str) -> None:
    assert "prefers-color-scheme: dark" in page
    for colour in (INK, FAINT, PAPER, SILENCE, *SENDS):
        assert page.count(colour.light) == 1
        assert page.count(colour.dark) == 1
    drawing = page[page.index("<svg") : page.index("</svg>")]
    used = set(re.findall(r"#[0-9a-f]{6}\b", drawing))
    assert not used, f"colours that no style sheet can turn: {used}"


@pytest.mark.parametrize("name", ["replay.pdf", "replay", "replay.png.txt"])
def test_another_suffix_is_refused_and_nothing_is_written(name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"must end in \.png or \.html"):
        write_picture(RESULT, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="is not a folder"):
        check_picture_path(tmp_path / "none" / "replay.png")


@pytest.mark.process
def test_drawing_touches_no_global_figure(tmp_path: Path) -> None:
    # In a process of its own: in this one another test may have loaded anything.
    program = (
        "import sys; from pathlib import Path\n"
        "from sim.replay.picture import write_picture; from tests.unit.test_pictures import RESULT\n"
        "write_picture(RESULT, Path(sys.argv[1]))\n"
        "print('matplotlib.figure' in sys.modules, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "page.html"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True False\n"


@given(st.lists(st.floats(-0.5, 1.5), min_size=1, max_size=8))
def test_labels_stay_inside_in_order_and_never_overlap(wanted: list[float]) -> None:
    heights = [0.12] * len(wanted)
    places = spread(wanted, heights)
    order = sorted(range(len(wanted)), key=lambda label: wanted[label])
    for below, above in pairwise(order):
        assert places[above] - places[below] >= 0.12 - 1e-9
    assert all(0.06 - 1e-9 <= place <= 0.94 + 1e-9 for place in places)
