"""`sendopt simulate`: a contest from the command line, interrupted and gone on with."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from time import monotonic, sleep

WORDS = ["--presets", "habit_push", "--policies", "uniform,service", "--processes", "1"]


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "api", "simulate", *WORDS, "--folder", str(folder), *words]


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_an_interrupted_contest_goes_on_with_what_is_missing(tmp_path: Path) -> None:
    folder, page = tmp_path / "runs", tmp_path / "page.html"
    words = ["--seeds", "1", "--decisions", "700"]
    with subprocess.Popen(command(folder, *words), start_new_session=True, stderr=subprocess.DEVNULL) as process:
        deadline = monotonic() + 60
        while "habit_push/uniform/1.parquet" not in files(folder) and monotonic() < deadline:
            sleep(0.1)
        os.killpg(process.pid, signal.SIGKILL)
    done = files(folder)
    assert "habit_push/uniform/1.parquet" in done
    assert "habit_push/service/1.parquet" not in done
    made_at = (folder / "habit_push/uniform/1.parquet").stat().st_mtime_ns
    finished = subprocess.run(
        command(folder, *words, "--page", str(page), "--against", "uniform"),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert finished.returncode == 0, finished.stderr
    assert (folder / "habit_push/uniform/1.parquet").stat().st_mtime_ns == made_at
    assert files(folder) >= {"habit_push/service/1.parquet", "habit_push/uniform/1.parquet"}
    lines = finished.stdout.splitlines()
    assert [line.split()[0] for line in lines if line.startswith((" service", " uniform"))].count("service") == 1
    assert "share" in finished.stdout
    assert "less uniform" in finished.stdout
    assert f"page: {page}" in finished.stdout
    assert "<svg" in page.read_text(encoding="utf-8")


def test_a_comparison_with_a_policy_that_does_not_play_is_refused_before_anything_runs(tmp_path: Path) -> None:
    words = command(tmp_path / "runs", "--seeds", "1", "--against", "linear_thompson")
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "against: 'linear_thompson' is not one of uniform, service" in done.stderr
    assert not (tmp_path / "runs").exists()
