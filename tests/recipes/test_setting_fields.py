"""The settings of a recipe as they are read without Keras: those that the classes themselves have, and their rules."""

import ast

import pytest

import keras_a2i.recipes.setting_fields as fields
from keras_a2i.errors import UsageError
from keras_a2i.recipes import get_recipe, recipe_names
from keras_a2i.recipes.setting_fields import check_settings, setting_fields, takes_list
from keras_a2i.recipes.settings import list_settings

WRONG = ("abc", -1, ("a",))


@pytest.mark.parametrize("name", recipe_names())
def test_settings_are_those_of_the_recipe_and_lists_where_it_has_lists(name):
    fields, values = setting_fields(name), list_settings(get_recipe(name))
    assert list(fields) == list(values)
    assert [isinstance(field.default, tuple) for field in fields.values()] == [
        isinstance(value, tuple) for value in values.values()
    ]


@pytest.mark.parametrize("name", ["features", "talking"])
def test_values_are_refused_with_the_sentence_of_the_recipe(name):
    refused = 0
    for setting in setting_fields(name):
        for value in WRONG:
            try:
                check_settings(name, {setting: value})
            except UsageError as error:
                refused += 1
                with pytest.raises(UsageError) as raised:
                    get_recipe(name, **{setting: value})
                assert str(raised.value) == str(error)
    assert refused > 40


def test_weights_of_objectives_and_the_augmentation_are_refused_without_keras():
    for settings, message in (
        ({"ssim": "abc"}, r"The weight of ssim must be a number in \[0, 1e\+06\]. Received: ssim='abc'"),
        ({"gain_db": -5}, "gain_db of an Augmentation must lie between 0 and 60. Received: gain_db=-5"),
    ):
        with pytest.raises(UsageError, match=message):
            check_settings("words-aligned", settings)


OBJECTIVES = """
class Required(ImageObjective):
    def __init__(self, first, second=2, *, third, fourth=(4,), **kwargs):
        ...

@register_objective
class Plain(ImageObjective):
    id: str = "plain"

    def __init__(self, **kwargs):
        ...

@register_objective
class Derived(Required):
    id = "derived"
"""


def test_settings_of_objectives_are_their_arguments_with_and_without_defaults(monkeypatch):
    modules = {"keras_a2i.objectives": "from keras_a2i.objectives.own import Plain, Derived"}
    use(monkeypatch, modules | {"keras_a2i.objectives.own": OBJECTIVES})
    found = {name: field.default for name, field in setting_fields("paper").items()}
    own = {name: default for name, default in found.items() if name.partition(".")[0] in ("plain", "derived")}
    assert own == {
        "plain": 0.0,
        "derived": 0.0,
        "derived.second": 2,
        "derived.third": None,
        "derived.fourth": (4,),
    }


def test_a_class_of_the_package_that_lies_elsewhere_is_an_error(monkeypatch):
    use(monkeypatch, {"keras_a2i.objectives": "from keras_a2i.objectives.own import Plain"})
    message = r"The class Plain must be defined in keras_a2i/objectives/own\.py.* docs/contributing\.md states where"
    with pytest.raises(LookupError, match=message):
        setting_fields("paper")


def use(monkeypatch, sources):
    """Has texts read in place of the files of some modules."""
    tree = fields._tree
    monkeypatch.setattr(fields, "_tree", lambda name: ast.parse(sources[name]) if name in sources else tree(name))


def test_what_the_recipe_accepts_is_accepted():
    for name in recipe_names():
        check_settings(name, list_settings(get_recipe(name)))
    assert takes_list("features", "units") and not takes_list("features", "size")
    check_settings("features", {"units": 8, "size": "tiny", "encoder": object(), "gain_db": 3})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epohcs": 3}, "no such setting. Received: 'epohcs'. Did you mean 'epochs'"),
        ({"channels": 3}, "Received: 'channels'. Choose between encoder.channels, generator.channels"),
        ({"size": "huge"}, "size must be one of .*Received: size='huge'"),
    ],
)
def test_names_are_refused_as_by_the_recipe(settings, message):
    for check in (check_settings, lambda name, settings: get_recipe(name, **settings)):
        with pytest.raises(UsageError, match=message):
            check("words-aligned", settings)
