"""Mutations of a Lua 5.1 file.

A mutation drops a statement, adds one to a number or subtracts one, changes a string, negates a
condition, swaps an operator, drops an operand of ``and`` or ``or``, or returns nil. A recursive
descent parser finds the places. It parses the grammar of Lua 5.1 except ``goto`` and does not check
names or types.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from tests.mutation.mutant import Edit, Mutant, mutants

_TOKEN = re.compile(
    r"""
    (?P<skip>\s+ | --\[(?P<c>=*)\[.*?\](?P=c)\] | --[^\n]*)
  | (?P<name>[A-Za-z_]\w*)
  | (?P<number>0[xX][0-9a-fA-F]+ | (?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)
  | (?P<string>"(?:\\.|[^"\\])*" | '(?:\\.|[^'\\])*' | \[(?P<s>=*)\[.*?\](?P=s)\])
  | (?P<symbol>\.\.\. | \.\. | == | ~= | <= | >= | [-+*/%^\#<>=(){}\[\];:,.])
    """,
    re.VERBOSE | re.DOTALL,
)
_KEYWORDS = frozenset(
    "and break do else elseif end false for function if in local nil not or repeat return then true"
    " until while".split()
)
_BINARY = {
    "or": (1, 1), "and": (2, 2), "<": (3, 3), ">": (3, 3), "<=": (3, 3), ">=": (3, 3),
    "~=": (3, 3), "==": (3, 3), "..": (5, 4), "+": (6, 6), "-": (6, 6), "*": (7, 7), "/": (7, 7),
    "%": (7, 7), "^": (10, 9),
}  # fmt: skip
_UNARY = 8
_SWAPS = {
    "<": ("<=", ">"), ">": (">=", "<"), "<=": ("<", ">="), ">=": (">", "<="), "==": ("~=",),
    "~=": ("==",), "+": ("-",), "-": ("+",), "*": ("/",), "/": ("*",), "%": ("*",), "^": ("*",),
}  # fmt: skip


class Token(NamedTuple):
    """A token; its kind is ``name``, ``keyword``, ``number``, ``string``, ``symbol`` or ``end``."""

    kind: str
    text: str
    start: int
    end: int


def lua_mutants(file: str, source: str) -> list[Mutant]:
    """Return all mutants of a Lua file. Some do not compile."""
    parser = _Parser(source)
    parser.block("end")
    return mutants(file, source, parser.edits)


def _tokens(source: str) -> list[Token]:
    found: list[Token] = []
    place = 0
    while place < len(source):
        match = _TOKEN.match(source, place)
        if match is None:
            raise SyntaxError(f"no Lua token at offset {place}: {source[place : place + 20]!r}")
        kind = next(
            k for k in ("skip", "name", "number", "string", "symbol") if match[k] is not None
        )
        if kind != "skip":
            is_keyword = kind == "name" and match[0] in _KEYWORDS
            found.append(Token("keyword" if is_keyword else kind, match[0], place, match.end()))
        place = match.end()
    found.append(Token("end", "", place, place))
    return found


class _Parser:
    def __init__(self, source: str) -> None:
        self.edits: list[Edit] = []
        self._source = source
        self._tokens = _tokens(source)
        self._at = 0
        self._functions: list[tuple[str, int]] = []

    # Tokens

    @property
    def _token(self) -> Token:
        return self._tokens[self._at]

    def _next(self) -> Token:
        self._at += 1
        return self._tokens[self._at - 1]

    def _take(self, text: str) -> bool:
        if self._token.text == text and self._token.kind in ("keyword", "symbol"):
            self._at += 1
            return True
        return False

    def _expect(self, text: str) -> Token:
        if not self._take(text):
            line = self._line(self._token.start)
            raise SyntaxError(f"line {line}: {text!r} expected, found {self._token.text!r}")
        return self._tokens[self._at - 1]

    def _line(self, offset: int) -> int:
        return self._source.count("\n", 0, offset) + 1

    def _edit(self, start: int, end: int, text: str) -> None:
        name, begins = self._functions[-1] if self._functions else ("", start)
        first, last = self._line(start), self._line(max(start, end - 1))
        scope = (self._line(begins), last) if self._functions else (first, last)
        self.edits.append(Edit(start, end, text, name, first, last, scope))

    # Statements

    def block(self, *ends: str) -> None:
        """Parse statements up to one of these tokens, which is not consumed."""
        while True:
            token = self._token
            if token.kind == "end" or (token.kind == "keyword" and token.text in ends):
                return
            self._statement()
            self._take(";")

    def _statement(self) -> None:
        first = self._token
        handler = {
            "if": self._if, "while": self._while, "do": self._do, "for": self._for,
            "repeat": self._repeat, "return": self._return, "local": self._local,
            "function": self._function_statement,
        }.get(first.text) if first.kind == "keyword" else None  # fmt: skip
        if first.text == "break" and first.kind == "keyword":
            self._next()
        elif handler is not None:
            self._next()
            handler()
        else:
            self._expression_statement()
        last = self._tokens[self._at - 1]
        self._edit(first.start, last.end, "")

    def _if(self) -> None:
        self._condition()
        self._expect("then")
        while True:
            self.block("elseif", "else", "end")
            if self._take("elseif"):
                self._condition()
                self._expect("then")
            elif self._take("else"):
                self.block("end")
            else:
                self._expect("end")
                return

    def _while(self) -> None:
        self._condition()
        self._do()

    def _do(self) -> None:
        if self._tokens[self._at - 1].text != "do":
            self._expect("do")
        self.block("end")
        self._expect("end")

    def _for(self) -> None:
        self._next()
        while self._take(","):
            self._next()
        if not self._take("="):
            self._expect("in")
        self._expressions()
        self._do()

    def _repeat(self) -> None:
        self.block("until")
        self._expect("until")
        self._condition()

    def _return(self) -> None:
        if self._token.text in ("end", "else", "elseif", "until", ";") or self._token.kind == "end":
            return
        start = self._token.start
        self._expressions()
        end = self._tokens[self._at - 1].end
        if self._source[start:end] != "nil":
            self._edit(start, end, "nil")

    def _local(self) -> None:
        if self._take("function"):
            self._functions.append((self._token.text, self._token.start))
            self._next()
            self._function_body()
            self._functions.pop()
            return
        self._next()
        while self._take(","):
            self._next()
        if self._take("="):
            self._expressions()

    def _function_statement(self) -> None:
        start = self._token.start
        while self._token.text != "(":
            self._next()
        self._functions.append((self._source[start : self._token.start].strip(), start))
        self._function_body()
        self._functions.pop()

    def _expression_statement(self) -> None:
        self._suffixed()
        while self._take(","):
            self._suffixed()
        if self._take("="):
            self._expressions()

    # Expressions

    def _condition(self) -> None:
        start = self._token.start
        before = len(self.edits)
        self._expression()
        end = self._tokens[self._at - 1].end
        if (
            not any("=" in edit.text for edit in self.edits[before:])
            or " and " in (self._source[start:end])
        ):
            self._edit(start, end, f"not ({self._source[start:end]})")

    def _expressions(self) -> None:
        self._expression()
        while self._take(","):
            self._expression()

    def _expression(self, limit: int = 0) -> None:
        start = self._token.start
        if self._token.text in ("not", "-", "#") and self._token.kind in ("keyword", "symbol"):
            operator = self._next()
            operand = self._token.start
            self._expression(_UNARY)
            if operator.text != "#":
                self._edit(operator.start, operand, "")
        else:
            self._simple()
        while self._token.kind in ("keyword", "symbol") and self._token.text in _BINARY:
            left, right = _BINARY[self._token.text]
            if left <= limit:
                return
            before = self._tokens[self._at - 1].end
            operator = self._next()
            after = self._token.start
            self._expression(right)
            end = self._tokens[self._at - 1].end
            for other in _SWAPS.get(operator.text, ()):
                self._edit(operator.start, operator.end, other)
            if operator.text in ("and", "or"):
                self._edit(before, end, "")
                self._edit(start, after, "")

    def _simple(self) -> None:
        token = self._token
        if token.kind == "number":
            self._next()
            value = (
                int(token.text, 0)
                if re.fullmatch(r"\d+|0[xX]\w+", token.text)
                else float(token.text)
            )
            for other in (value + 1, value - 1):
                self._edit(token.start, token.end, str(other) if other >= 0 else f"({other})")
        elif token.kind == "string":
            self._next()
            self._mutate_string(token)
        elif token.kind == "keyword" and token.text in ("nil", "true", "false", "function"):
            self._next()
            if token.text == "function":
                self._function_body()
            elif token.text != "nil":
                self._edit(token.start, token.end, "false" if token.text == "true" else "true")
        elif self._take("..."):
            pass
        elif self._take("{"):
            self._table()
        else:
            self._suffixed()

    def _mutate_string(self, token: Token) -> None:
        quote, text = token.text[0], token.text[1:-1]
        if re.fullmatch(r"-?\d+", text):
            for other in (int(text) + 1, int(text) - 1):
                self._edit(token.start, token.end, f"{quote}{other}{quote}")
        elif quote in "\"'":
            self._edit(token.start, token.end, f"{quote}XX{text}XX{quote}")

    def _suffixed(self) -> None:
        if self._take("("):
            self._expression()
            self._expect(")")
        elif self._token.kind == "name":
            self._next()
        else:
            raise SyntaxError(
                f"line {self._line(self._token.start)}: unexpected {self._token.text!r}"
            )
        while True:
            if self._take("."):
                self._next()
            elif self._take("["):
                self._expression()
                self._expect("]")
            elif self._take(":"):
                self._next()
                self._arguments()
            elif self._token.text in ("(", "{") or self._token.kind == "string":
                self._arguments()
            else:
                return

    def _arguments(self) -> None:
        if self._token.kind == "string":
            self._mutate_string(self._next())
        elif self._take("{"):
            self._table()
        else:
            self._expect("(")
            if not self._take(")"):
                self._expressions()
                self._expect(")")

    def _table(self) -> None:
        while not self._take("}"):
            if self._take("["):
                self._expression()
                self._expect("]")
                self._expect("=")
            elif self._token.kind == "name" and self._tokens[self._at + 1].text == "=":
                self._next()
                self._next()
            self._expression()
            if not self._take(","):
                self._take(";")

    def _function_body(self) -> None:
        self._expect("(")
        while not self._take(")"):
            self._next()
        self.block("end")
        self._expect("end")
