"""Files that several jobs wait for: the table agrees with a plain count, whatever comes and goes."""

from __future__ import annotations

import random
from pathlib import Path

from voidbridge_backend.daemon.jobs.missing_files import MissingFiles
from voidbridge_backend.daemon.store.spool import Spool, UserFile

FILES = {UserFile("ana", f"{i:064x}"): 10 + i for i in range(12)}


def promised(jobs: dict[str, set[UserFile]], released: set[str]) -> int:
    """Counts the bytes of files for which a job waits that keeps its room."""
    kept = [files for job, files in jobs.items() if job not in released]
    return sum(FILES[file] for file in set().union(*kept))


def test_jobs_that_share_files_come_and_go(tmp_path: Path) -> None:
    rng, missing = random.Random(1), MissingFiles(Spool(tmp_path))
    jobs: dict[str, set[UserFile]] = {}
    released: set[str] = set()
    for turn in range(1000):
        match rng.randrange(5):
            case 0 if len(jobs) < 5:
                job = f"job {turn}"
                jobs[job] = set(rng.sample(sorted(FILES), rng.randrange(1, 12)))
                missing.add(job, {file: FILES[file] for file in jobs[job]})
            case 1 if jobs:
                job = rng.choice(sorted(jobs))
                del jobs[job]
                released.discard(job)
                missing.drop(job)
            case 2:
                file = rng.choice(sorted(FILES))
                waited = sorted(job for job, files in jobs.items() if file in files)
                assert missing.arrived(file) == waited
                for job in waited:
                    jobs[job].discard(file)
            case 3 if jobs:
                job = rng.choice(sorted(jobs))
                released.add(job)
                missing.release(job)
            case 4 if jobs:
                job = rng.choice(sorted(jobs))
                released.discard(job)
                missing.promise(job)
        assert missing.room("ana", {}) == promised(jobs, released) + 1
        assert {file for file in FILES if file in missing} == set().union(*jobs.values())
    for job in list(jobs):
        missing.drop(job)
    assert missing.room("ana", {}) == 1
