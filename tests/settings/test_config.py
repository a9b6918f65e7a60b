"""The configuration: what is accepted, and how each mistake is told in one line."""

from pathlib import Path

import pytest
import yaml

from study.settings.arms import make_arms
from study.settings.reading import PRESETS, load_config, validate
from trainables.errors import UserError

DEMO = yaml.safe_load((PRESETS / "demo.yaml").read_text())


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_preset_is_valid(path):
    config = load_config(preset=path.stem)
    assert config.name == path.stem
    assert validate(config.model_dump(mode="json"), "again") == config


def test_the_demo_is_the_comparison_of_the_abstract():
    arms = make_arms(load_config(preset="demo"))
    assert [arm.name for arm in arms] == [
        *(f"single-{term}" for term in ("l1", "ssim", "gradient", "frequency")),
        "equal",
        "tuned",
        "cov",
    ]
    tuned = arms[5].search
    assert (tuned.budget.trials, tuned.confirm_seeds) == (12, (1, 2, 3))
    assert arms[6].seeds == (1, 2, 3)


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_a_preset_simulates_the_splits_it_asks_for(path):
    cohort = load_config(preset=path.stem).cohort
    simulated = dict(cohort.virtual.splits())
    for split in ("train", "validation", "test"):
        assert simulated[split] >= (getattr(cohort.prepare, f"num_{split}") or 1)


@pytest.mark.parametrize(("total", "splits"), [(80, (48, 8, 24)), (10, (6, 1, 3)), (3, (1, 1, 1)), (4, (2, 1, 1))])
def test_a_virtual_cohort_is_split_six_to_one_to_three_and_no_split_is_empty(total, splits):
    config = load_config(preset="smoke", overrides=[f"cohort.virtual={{num_subjects: {total}}}"])
    assert tuple(count for _, count in config.cohort.virtual.splits()) == splits


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"sed": 1}, "unknown key `sed`; did you mean 'seed'?"),
        ({"training": {"epoch": 3}}, "unknown key `training.epoch`; did you mean 'epochs'?"),
        ({"training": {"epochs": "many"}}, "`training.epochs`: input should be a valid integer"),
        ({"training": {"epochs": 0}}, "`training.epochs`: input should be greater than or equal to 1 (got 0)."),
        ({"tune_learning_rate": {"low": 1e-2, "high": 1e-4}}, "`tune_learning_rate`: low must be below high."),
        (
            {"tune_learning_rate": {"low": 1e-5, "high": 1e-4}},
            "begins with training.learning_rate = 0.003, which is not",
        ),
        (
            {"arms": {"tuned": {"budget": {"trials": 2}, "sampler": "cma-es", "objectives": ["psnr", "ssim"]}}},
            "arms.tuned.sampler: cma-es searches for one objective",
        ),
        ({"arms": {"tuned": {}}}, "arms.tuned.budget: a search needs one"),
        ({"arms": {"tuned": {"budget": {}}}}, "`arms.tuned.budget`: give at least one of trials"),
        (
            {"arms": {"tuned": {"budget": {"trails": 3}}}},
            "unknown key `arms.tuned.budget.trails`; did you mean 'trials'?",
        ),
        ({"arms": {"cov": {"seeds": 9}}}, "arms.cov.seeds: asks for 9 seeds, but `seeds` lists 3"),
        ({"arms": {"cov-frozen": {"source": "cow"}}}, "arms.cov-frozen.source: waits for the arm 'cow'"),
        ({"arms": {"hand": {"strategy": "given", "weights": {"l3": 1}}}}, "arms.hand.weights: no term 'l3'"),
        ({"arms": {}}, "`arms`: dictionary should have at least 1 item"),
        ({"terms": ["l1", "l1"]}, "`terms`: has an entry twice"),
        ({"resources": {"gpus_per_trial": 1.5}}, "`resources.gpus_per_trial`: is a fraction of 1 or a whole number"),
        (
            {"objective": "mse"},
            "`objective`: no metric 'mse' is measured (`metrics` may list it); did you mean 'rmse'?",
        ),
        ({"objective": "bias", "metrics": ["dice"]}, "`objective`: no metric 'bias' is measured"),
        (
            {"arms": {"tuned": {"budget": {"trials": 3}, "objectives": ["psnr", "dice"]}}},
            "`arms.tuned.objectives`: no metric 'dice' is measured",
        ),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(change, says):
    with pytest.raises(UserError) as error:
        validate(DEMO | change, "mine.yaml")
    message = str(error.value)
    assert says in message
    assert "\n" not in message


def test_overrides_reach_any_key_and_keep_types(tmp_path):
    config = load_config(
        preset="demo", overrides=["training.epochs=3", "terms=[l1, ssim]", "arms.cov.options.mode=decay", "name=x y"]
    )
    assert config.training.epochs == 3
    assert config.terms == ("l1", "ssim")
    assert config.arms["cov"].options == {"mode": "decay"}
    assert config.name == "x y"


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("trainig.epochs=3", "unknown key `trainig`; did you mean -o training.epochs=3?"),
        ("training.epoch=3", "unknown key `training.epoch`; did you mean -o training.epochs=3?"),
        ("epochs=3", "unknown key `epochs`; did you mean -o training.epochs=3?"),
        ("num_subjects=[1, 2]", "did you mean -o 'cohort.virtual.num_subjects=[1, 2]'?"),
        ("arms.cov.budgt.trials=3", "unknown key `arms.cov.budgt`; did you mean -o arms.cov.budget.trials=3?"),
        ("arms.tuned.budget.trails=3", "did you mean -o arms.tuned.budget.trials=3?"),
        ("training.xyzzy=1", "unknown key `training.xyzzy`; there are augmentation, batch_size"),
        ("training.epochs=many", "`training.epochs`: input should be a valid integer"),
        ("training.epochs=", "`training.epochs`: input should be a valid integer (got None)."),
        ("arms.cov={seeds: 0}", "`arms.cov.seeds`: input should be greater than or equal to 1 (got 0)."),
        ("training.epochs.x=3", "`epochs` is not a group of keys."),
        ("training..epochs=3", "write it as key.path=value"),
        ("=3", "write it as key.path=value"),
        ("training.epochs", "write it as key.path=value"),
        ("name=2020-13-45", "the value is not valid YAML"),
        ("terms=[l1", "the value is not valid YAML; a list is -o 'terms=[l1, ssim]'."),
    ],
)
def test_a_mistake_on_the_command_line_is_quoted_with_what_to_type(override, says):
    with pytest.raises(UserError) as error:
        load_config(preset="demo", overrides=["name=x", override])
    message = str(error.value)
    assert message.startswith(f"-o {override}: ")
    assert says in message


def test_keys_that_are_names_are_free():
    overrides = ["arms.mine={strategy: cov}", "arms.mine.options.mode=ema", "training.term_options.l9.x=1"]
    config = load_config(preset="demo", overrides=overrides)
    assert config.arms["mine"].options == {"mode": "ema"}
    assert config.training.term_options == {"l9": {"x": 1}}


def test_modules_are_looked_for_beside_the_configuration_and_where_the_command_was_started(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "studies").mkdir()
    path = tmp_path / "studies" / "mine.yaml"
    path.write_text(yaml.safe_dump(DEMO | {"terms": ["l1", "mine:edges"]}))
    assert load_config(path).module_path == (tmp_path / "studies", tmp_path)
    assert load_config(path, overrides=["module_path=[code]"]).module_path == (tmp_path / "studies" / "code",)
    assert load_config(path, overrides=["terms=[l1, ssim]"]).module_path == ()
    again = validate(load_config(path).model_dump(mode="json"), "study.yaml")
    assert again.module_path == (tmp_path / "studies", tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no such file"),
        ("a: [", "line 1: not valid YAML"),
        ("- a", "is a mapping of keys"),
        ("", "is a mapping of keys"),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, text, says):
    path = tmp_path / "mine.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=r"mine\.yaml") as error:
        load_config(path)
    assert says in str(error.value)


def test_given_weights_are_scaled_to_sum_to_one():
    arms = make_arms(validate(DEMO | {"arms": {"hand": {"strategy": "given", "weights": {"l1": 3, "ssim": 1}}}}, "x"))
    assert arms[0].make_weighting({}, {}) == {"name": "fixed", "weights": [0.75, 0.25, 0.0, 0.0]}
