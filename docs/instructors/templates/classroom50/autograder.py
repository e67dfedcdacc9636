"""Classroom 50: copy to CLASSROOM/autograders/ASSIGNMENT/autograder.py.

The runner starts it in the student's checkout with OWNER, SUBMISSION_TAG, COMMIT_URL and so on in the environment. It writes
result.json (`classroom50/result/v1`) and release-body.md, the text of the release, which is where a student reads the feedback:
the release page itself shows names and pass or fail only. Exit status 0 means that grading ran; anything else is a fault of
the set-up.

The course must be installed in the runner's image, or set COURSE to its `course` command. A Classroom 50 bundle can be
read by everybody, so hidden checks do not belong beside this file.
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile

course = shlex.split(os.environ.get("COURSE", "course"))
# the environment that names the submission goes to the grader; student code runs in processes with an empty one
with tempfile.TemporaryDirectory() as folder:
    report = os.path.join(folder, "report.json")
    for command in (["grade", ".", "--out", report], ["show", report, "--format", "classroom50", "--out", "result.json"],
                    ["show", report, "--format", "markdown", "--out", "release-body.md"]):
        if status := subprocess.run([*course, *command], check=False).returncode:
            sys.exit(status)
with open("result.json", encoding="utf-8") as handle:
    result = json.load(handle)
print(f"{result['score']} of {result['max-score']}")
