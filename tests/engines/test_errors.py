"""Messages on one line."""

from __future__ import annotations

import pytest
from torch import nn

from engines.errors import ModelError, gist


def test_the_first_thing_that_is_wrong_with_weights_is_named() -> None:
    with pytest.raises(RuntimeError) as error:
        nn.Linear(2, 3).load_state_dict({})
    said = (
        'Error(s) in loading state_dict for Linear: Missing key(s) in state_dict: "weight", "bias"'
    )
    assert gist(error.value) == said


def test_long_and_empty_ones_stay_one_line() -> None:
    assert len(gist(ValueError("word " * 100))) <= 200
    assert gist(KeyError()) == "KeyError"
    assert str(ModelError("two\n  lines")) == "two lines"
