"""`octavo`: each verb is the public function of that name."""

import inspect
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from importlib.metadata import version
from typing import Annotated, Any

import typer
import typer.core

from octavo.cli.compare import compare
from octavo.cli.distill import distill
from octavo.cli.doctor import doctor
from octavo.cli.echo import error_words, found_words, place_words, say, speak, words
from octavo.cli.export import export
from octavo.cli.inspect import inspect as look
from octavo.cli.layout import layout
from octavo.cli.options import Lang
from octavo.cli.predict import predict
from octavo.cli.push import push
from octavo.cli.quantize import quantize
from octavo.cli.report import report
from octavo.cli.search import search
from octavo.cli.trim import trim
from octavo.errors import OctavoError, OctavoWarning, printable


class _Group(typer.core.TyperGroup):
    """The verbs; a usage error shows what an argument holds, as all other errors do."""

    def invoke(self, ctx: Any) -> Any:
        with _printable_errors():
            return super().invoke(ctx)

    def make_context(self, *arguments: Any, **settings: Any) -> Any:
        with _printable_errors():
            return super().make_context(*arguments, **settings)


@contextmanager
def _printable_errors() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        message = getattr(error, "message", None)  # the base of typer's errors has moved
        if isinstance(message, str) and type(error).__name__ != "NoArgsIsHelpError":  # whose message is the help
            vars(error)["message"] = printable(message)
        raise


app = typer.Typer(
    cls=_Group,
    name="octavo",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # help and usage errors without boxes, on a terminal and in a pipe
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _spoken(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb with an option more, which is obeyed before it begins: `--lang`."""

    @wraps(verb)
    def call(lang: str | None, **options: Any) -> None:  # noqa: ARG001 - its callback has chosen the language
        verb(**options)

    signature = inspect.signature(verb, eval_str=True)
    lang = inspect.Parameter("lang", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Lang)
    vars(call)["__signature__"] = signature.replace(parameters=[*signature.parameters.values(), lang])
    return call


for each in (quantize, export, search, trim, distill, compare, report, predict, look, doctor, layout, push):
    app.command()(_spoken(each))


def _say_version(asked: bool) -> None:
    if asked:
        say(f"octavo {version('octavo')}")
        raise typer.Exit


@app.callback()
def _options(
    show: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say it and end.")
    ] = False,
) -> None:
    """Make a Hugging Face transformer small and fast on CPU, and see that it still works."""


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, OctavoWarning):
        say(f"{words('warning')}: {error_words(str(message))}", err=True)


def _end(number: int, _: Any) -> None:
    sys.exit(128 + number)


def run() -> None:
    """Run the command line: an error is one line on stderr, and the exit code says whose it is."""
    speak(None)
    warnings.showwarning = _show_warning
    warnings.simplefilter("always", OctavoWarning)
    for name in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _end)  # so that half-written files are removed: by default the process ends at once
    try:
        app(prog_name="octavo")  # by `python -m octavo` too
    except OctavoError as error:
        told = [problem.told_in(words, error_words, place_words, found_words) for problem in error.problems or (error,)]
        say(*(f"{words('error')}: {line}" for line in told), err=True)
        sys.exit(error.exit_code)
    except SystemExit as end:  # typer's answer to an interruption, without a message
        if end.code == 130:
            say(words("interrupted"), err=True)
        raise
    except OSError as error:  # a full disk, a folder that may not be written
        say(f"{words('error')}: {error}", err=True)
        sys.exit(3)
    except Exception as error:  # users get one line, and a way to see the traceback
        if os.environ.get("OCTAVO_DEBUG"):
            raise
        reason = str(error).strip().partition("\n")[0]
        text = words("error: a defect of Octavo: {name}: {reason}; next: set OCTAVO_DEBUG=1")
        say(text.format(name=type(error).__name__, reason=reason), err=True)
        sys.exit(3)
