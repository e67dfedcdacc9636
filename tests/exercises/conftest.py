"""Every check here takes the fixture `student`; see course/grading/plugin.py."""

from course.grading.plugin import (  # noqa: F401
    pytest_addoption,
    pytest_configure,
    pytest_runtest_call,
    pytest_runtest_makereport,
    student,
)
