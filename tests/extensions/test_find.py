"""User-defined components are found by name, or it is said in one line why not."""

import sys
from pathlib import Path

import pytest

from trainables import extensions
from trainables.errors import UserError
from trainables.losses import TERMS, LossTerms
from trainables.metrics import find_metric
from trainables.weighting import make_weighting


@pytest.fixture
def folder(tmp_path):
    """A folder for modules that lie beside a study."""
    extensions.extend_path([tmp_path])
    return tmp_path


@pytest.fixture
def installed(site):
    sys.path.append(str(site))


def distribution(folder, name, entries):
    """What pip leaves behind of a package that offers these entry points."""
    info = folder / f"{name}-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text(entries)


def test_an_installed_package_offers_all_four_kinds(installed):
    import torch

    image = torch.rand(1, 1, 16, 24)
    assert LossTerms(["l1", "relative-error"])(image + 0.1, image)[0].item() == pytest.approx(0.1)
    weighting = make_weighting({"name": "larger-first", "decay": 0.5}, 2)
    weighting(torch.tensor([1.0, 3.0]))
    assert weighting.weights.tolist() == pytest.approx([0.25, 0.75], abs=1e-5)
    metric = find_metric("bias")
    assert (metric.name, metric.goal) == ("bias", "min")
    assert extensions.find("networks", "plain", {}).__name__ == "plain"
    assert extensions.origin("terms", "relative-error", TERMS) == "example-parts 1.0"
    assert extensions.origin("terms", "l1", TERMS) is None
    assert extensions.packages() == ["example-parts 1.0"]


def test_the_page_shows_what_is_installed_here():
    example = Path(__file__).parents[1] / "example_package"
    parts = (example / "example_parts.py").read_text().split("\n# [")[1:-1]
    assert [part.partition("]")[0] for part in parts] == ["term", "weighting", "network", "metric"]
    page = (Path(__file__).parents[2] / "docs" / "extending.md").read_text()
    for part in parts:
        assert f"```python\n{part.partition(']')[2].strip()}\n```" in page
    assert page.split("```toml\n")[1].split("\n```")[0] in (example / "pyproject.toml").read_text()


def test_a_module_beside_the_study_goes_by_module_and_name(folder):
    (folder / "my_losses.py").write_text("class Group:\n    def mean(p, t, m=None): return (p - t).mean()\n")
    terms = LossTerms(["my_losses:Group.mean"])
    assert terms.names == ("my_losses:Group.mean",)
    assert extensions.origin("terms", "my_losses:Group.mean", TERMS).startswith("my_losses.py sha256:")


def test_a_term_that_is_a_network_takes_options_and_its_state_is_saved(folder):
    (folder / "my_net.py").write_text(
        "import torch\n"
        "class Learned(torch.nn.Module):\n"
        "    def __init__(self, scale=1.0):\n"
        "        super().__init__()\n"
        "        self.register_buffer('scale', torch.tensor(scale))\n"
        "    def forward(self, p, t, m=None): return self.scale * (p - t).abs().mean()\n"
    )
    import torch

    terms = LossTerms(["my_net:Learned"], {"my_net:Learned": {"scale": 3.0}})
    assert terms(torch.ones(1, 1, 2, 2), torch.zeros(1, 1, 2, 2)).tolist() == [3.0]
    assert [value.item() for value in terms.state_dict().values()] == [3.0]
    with pytest.raises(UserError, match="no option 'scal'; did you mean 'scale'"):
        LossTerms(["my_net:Learned"], {"my_net:Learned": {"scal": 3.0}})


@pytest.mark.parametrize(
    ("text", "name", "says"),
    [
        (None, "nowhere:edges", "there is no module 'nowhere' that Python can import; install its package"),
        ("import absent_library", "mine_a:edges", "importing it needs 'absent_library', which is not installed"),
        ("1 / 0", "mine_b:edges", "importing it fails with ZeroDivisionError: division by zero"),
        ("def f(:", "mine_c:edges", "importing it fails with SyntaxError"),
        ("def edges(): ...", "mine_d:edgse", "mine_d.py has no 'edgse'; did you mean 'edges'?"),
        ("edges = 3", "mine_e:edges", "must be a function or a torch.nn.Module class, not 3"),
        (None, "a b:c!", "write it as module:name, for example my_losses:edges"),
        (None, "edges", "unknown loss term 'edges'; there are l1, l2"),
        (None, "fequency", "unknown loss term 'fequency'; did you mean 'frequency'?"),
    ],
)
def test_what_is_wrong_with_a_name_is_one_line(folder, text, name, says):
    if text is not None:
        (folder / f"{name.partition(':')[0]}.py").write_text(text)
    with pytest.raises(UserError) as error:
        LossTerms([name])
    assert says in str(error.value)
    assert "\n" not in str(error.value)


def test_a_package_must_not_take_the_name_of_a_built_in_part(folder):
    distribution(folder, "other-losses", "[cov_study.terms]\nssim = other:ssim\n")
    with pytest.raises(
        UserError, match=r"other-losses 2\.0 offers a loss term 'ssim', which is the name of a built-in"
    ):
        extensions.refuse_clashes("terms", TERMS)
    extensions.refuse_clashes("weightings", TERMS)


def test_two_packages_must_not_offer_the_same_name(folder):
    for name in ("one", "two"):
        distribution(folder, name, "[cov_study.terms]\nedges = one:edges\n")
    with pytest.raises(UserError, match=r"one 2\.0 and two 2\.0 both offer a loss term 'edges'; write `module:name`"):
        LossTerms(["edges"])


def test_an_entry_point_that_leads_nowhere_names_its_package(folder):
    distribution(folder, "stale", "[cov_study.terms]\nedges = gone:edges\na/b = gone:edges\n")
    with pytest.raises(UserError, match=r"stale 2\.0: loss term 'edges' = 'gone:edges': there is no module 'gone'"):
        LossTerms(["edges"])
    with pytest.raises(UserError, match="needs a name of letters"):
        LossTerms(["a/b"])
