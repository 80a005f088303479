"""Who may import whom, and what an import costs."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import disvae

ROOT = Path(disvae.__file__).parent

# part -> what it may import; parts may also import a default head (the last line of the rule)
BASE = {"_extras", "distributions", "nn"}
ALLOWED = {
    "_extras": set(),
    "distributions": set(),
    "nn": set(),
    "posteriors": BASE,
    "likelihoods": BASE,
    "priors": BASE,
    "encoders": BASE | {"posteriors"},
    "decoders": BASE | {"likelihoods"},
    "output": {"distributions"},
    "model": BASE | {"output"},
    "objectives": BASE | {"model", "output"},
    "training": BASE | {"model", "objectives"},
    "evaluation": BASE | {"model", "output", "objectives", "metrics", "data"},
    "traversals": BASE | {"model", "objectives"},
    "alignment": BASE | {"model", "evaluation", "traversals", "metrics", "data"},
    "testing": BASE | {"model", "output", "objectives"},
    "metrics": set(),
    "data": {"_extras"},
    "plotting": BASE | {"model", "evaluation", "traversals", "alignment", "metrics", "data"},
    "lightning": BASE | {"model", "objectives", "training", "evaluation", "plotting"},
}
OUTSIDE = {
    "metrics": {"torch"},
    None: {"lightning", "matplotlib", "skimage", "zuko", "pooch", "sklearn", "PIL", "tqdm"},
}


def imports(path):
    """What a file imports when it is loaded: not inside functions, not for type checkers."""
    found = []

    def visit(node):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
                continue
            if isinstance(child, ast.Import):
                found.extend(alias.name for alias in child.names)
            if isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{path}: relative import"
                found.append(child.module)
                if child.module == "disvae":
                    found.extend(f"disvae.{alias.name}" for alias in child.names)
            visit(child)

    visit(ast.parse(path.read_text()))
    return found


FILES = [p for p in sorted(ROOT.rglob("*.py")) if p != ROOT / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_follow_the_arrows(path):
    part = path.relative_to(ROOT).parts[0].removesuffix(".py")
    for name in imports(path):
        package, _, rest = name.partition(".")
        if package == "disvae" and rest:
            target = rest.split(".")[0]
            assert target == part or target in ALLOWED[part], f"{part} imports {target}"
        forbidden = OUTSIDE[None] | OUTSIDE.get(part, set())
        if part == "metrics":
            forbidden = forbidden - {"sklearn"}
        assert package not in forbidden, f"{path.name} imports {package} when loaded"


def run(code):
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    return process.stdout.split()


def test_metrics_do_not_load_torch():
    assert run("import sys, disvae.metrics; print('torch' in sys.modules)") == ["False"]


def test_importing_the_package_loads_nothing():
    loaded = run("import sys, disvae; print('torch' in sys.modules, 'numpy' in sys.modules)")
    assert loaded == ["False", "False"]


def test_using_a_model_loads_no_extra():
    code = """
import sys, torch, disvae
from disvae import encoders, decoders, priors, objectives, evaluation, traversals
model = disvae.VAE(encoders.MLP(6, 2), decoders.MLP(2, 6), prior=priors.Normal(2))
disvae.TrainStep(model, objectives.ELBO())(torch.rand(4, 6)).total.backward()
evaluation.summary(model, torch.rand(4, 6))
traversals.traverse(model, torch.rand(1, 6))
extras = {"lightning", "matplotlib", "sklearn", "skimage", "zuko", "PIL"}
print(*sorted((extras | {"torch._dynamo"}) & set(sys.modules)))  # the compiler costs a second
"""
    assert run(code) == []


@pytest.mark.parametrize(
    ("package", "extra", "use"),
    [
        ("matplotlib", "plot", "disvae.plotting.grid(numpy.zeros((2, 1, 8, 8)))"),
        ("PIL", "plot", "disvae.plotting.save_gif(numpy.zeros((2, 1, 8, 8)), 'x.gif')"),
        ("lightning", "lightning", "disvae.lightning.LitVAE"),
    ],
)
def test_a_missing_extra_says_how_to_install_it(package, extra, use):
    code = f"""
import sys, numpy, disvae
sys.modules[{package!r}] = None  # as if it were not installed
try:
    {use}
except ImportError as error:
    assert "disvae[{extra}]" in str(error) and {package!r} in str(error), error
    assert "\\n" not in str(error) and 25 <= len(str(error)) <= 400, error
    print("said")
"""
    assert run(code) == ["said"]


def test_every_public_name_loads():
    for name in disvae.__all__:
        assert getattr(disvae, name) is not None
    assert set(disvae.__all__) <= set(dir(disvae))
    with pytest.raises(AttributeError, match="no attribute 'vae'"):
        _ = disvae.vae
