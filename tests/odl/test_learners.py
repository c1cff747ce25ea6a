"""Learning primitives as options: read from Python, a command line and a manifest."""

import pytest

import odl
from odl.cli.options import _learners as typed
from odl.errors import InputError
from odl.learners import LEARN, LEARNERS, SETTINGS
from odl.options import Options


@pytest.mark.parametrize("kind", LEARNERS.values(), ids=lambda kind: kind.name)
def test_a_primitive_is_the_same_from_python_by_name_and_from_a_manifest(kind):
    options = Options(learn=kind())
    assert options.learn == Options(learn=kind.name).learn == (kind(),)
    assert LEARN.read(LEARN.write(options.learn)) == options.learn
    assert options.learner(kind) == kind() and Options().learner(kind) is None
    assert getattr(odl, kind.__name__) is kind


@pytest.mark.parametrize("value", ["importnace", 3, [3], {"name": "none"}, [odl.SGD()]])
def test_what_is_no_primitive_is_refused(value):
    with pytest.raises(InputError, match=r"must be some of .*importance"):
        Options(learn=value)


def test_every_setting_has_an_option_that_needs_its_primitive():
    for name, (kind, item) in SETTINGS.items():
        assert typed(kind.name, {name: item.default}) == (kind(),)
        with pytest.raises(InputError, match=f"{name}=.* goes with learn={kind.name!r}".replace("'", '"')):
            typed("", {name: item.default})
