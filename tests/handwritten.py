"""Manifests as people write them: any indentation, comments anywhere, and every way of a scalar.

Values are those of a workload; how it is spelt is drawn. What comes out is YAML for libyaml too,
and block style where it matters: what is on one line is in the examples of the tests.
"""

ANY = object()
"""A scalar: any."""

SCALARS = (
    *("x", "a b  c", "on", "0777", "22:22", "1.5", "~", "!!str 5", "a#b", "http://x:80/y", "😀"),
    *("'it''s'", "'# no'", '""', '"a\\tb\\u00e9\\U0001F600"', "&anchor{n} x"),
)
LINES = (
    "foo",
    "  more",
    "bar: baz",
    "# no comment",
    "- x",
    "tail  ",
    "",
    "    ",
    "{{ .Values.x }}",
)
COMMENTS = ("# c", "#- x: y", "# 'q", "", "    # deep", "  ")


class Writer:
    """Writes one document in one style; `draw` is a `random.Random`."""

    def __init__(self, draw):
        self._draw = draw
        self._last = 0  # of the anchors
        self._step = draw.choice([1, 2, 2, 2, 3, 4, 8])
        self._dash = draw.choice([0, 0, 2, self._step])

    def document(self):
        text = self._gap() + self._one_of("", "---\n", "--- # Source: x\n")
        text += self._mapping(self._workload(), 0) + self._gap()
        text += self._one_of("", "", "status: {}", "...\n", "...\n# c\n")
        text = self._one_of("", "", "\ufeff") + text
        return self._one_of(text, text, text.replace("\n", "\r\n"))

    def _one_of(self, *options):
        return self._draw.choice(options)

    def _number(self):
        self._last += 1
        return self._last

    def _workload(self):
        pods = [self._pod() for _ in range(2)]
        meta = {"name": "a", "labels": self._one_of(None, {"x": ANY})}
        found = self._one_of(
            {"apiVersion": "v1", "kind": "Pod", **pods[0]},
            {
                "apiVersion": "apps/v1",
                "kind": "Deployment",
                "metadata": meta,
                "spec": {"replicas": "2", "template": pods[0]},
            },
            {
                "apiVersion": "v1",
                "kind": "List",
                "items": [{"kind": "Pod", "apiVersion": "v1", **each} for each in pods],
            },
        )
        return self._shuffled(found)

    def _pod(self):
        spec = {"containers": [self._container(n) for n in ("app", "db")[: self._one_of(1, 2)]]}
        spec |= self._some(
            initContainers=[None, [], [self._container("wait")]],
            volumes=[None, [], [{"name": "v", "emptyDir": {}}]],
            nodeName=[ANY],
        )
        metadata = [None, {"labels": {"a": ANY}}, {"annotations": None}, {"annotations": {}}]
        metadata += [{"annotations": {"x/y": ANY}, "labels": {}}]
        return self._shuffled({"spec": self._shuffled(spec)} | self._some(metadata=metadata))

    def _container(self, name):
        key = {"name": "OPENAI_API_KEY", "value": "'k'"}
        more = self._some(
            image=[ANY],
            args=[[], [ANY], ["sh", "'-c'", ANY]],
            env=[None, [], [{"name": "A", "value": ANY}], [key, {"name": "B", "value": ANY}]],
            envFrom=[[{"secretRef": {"name": "s"}}]],
            resources=[{}],
        )
        return self._shuffled({"name": name, **more})

    def _some(self, **options):
        return {k: self._one_of(*each) for k, each in options.items() if self._draw.random() < 0.4}

    def _shuffled(self, found):
        names = list(found)
        self._draw.shuffle(names)
        return {name: found[name] for name in names}

    def _gap(self):
        """Comments and empty lines."""
        gap = ""
        while self._draw.random() < 0.25:
            gap += self._one_of(*COMMENTS) + "\n"
        return gap

    def _end(self):
        return self._one_of("", "", "", " # t", "  ", "\t# a tab") + "\n"

    def _mapping(self, value, column, lead=None):
        text = ""
        for name, each in value.items():
            text += (self._gap() if lead is None else "") + (lead or " " * column)
            text += self._one_of(name, name, name, f'"{name}"', f"'{name}' ") + ":"
            text += self._value(each, column)
            lead = None
        return text

    def _value(self, value, column):
        if value is ANY:
            return self._scalar(column)
        if not value or isinstance(value, str):
            return f" {value}" + self._end() if value is not None else self._one_of("\n", " # c\n")
        head = self._one_of("", "", "", " # c", f" &{self._number()}", " !!map") + "\n"
        if isinstance(value, dict):
            return head + self._mapping(value, column + self._step)
        head = head.replace("map", "seq")
        return head + self._sequence(value, column + self._dash) + self._gap()

    def _sequence(self, value, column):
        text = ""
        for each in value:
            text += self._gap() + " " * column + "-"
            if not isinstance(each, dict):
                text += self._value(each, column)
            elif self._draw.random() < 0.2:
                text += self._one_of("\n", " # c\n") + self._gap() + self._mapping(each, column + 2)
            else:
                blanks = " " * self._one_of(1, 1, 1, 3)
                text += self._mapping(each, column + 1 + len(blanks), blanks)
        return text

    def _scalar(self, column):
        deeper = " " * (column + self._one_of(1, 2, 4))
        several = self._draw.random()
        if several < 0.1:
            return f" one\n{deeper}two" + self._end()
        if several < 0.2:
            return f' "one\n\n{deeper}two \\\n{deeper}three"' + self._end()
        if several < 0.5:
            head = self._one_of("|", "|-", "|+", ">", ">-", ">+") + self._one_of("", " # c +")
            lines = ["first", *self._draw.choices(LINES, k=self._one_of(0, 1, 3))]
            return "\n".join([f" {head}", *(deeper + each for each in lines), ""])
        return " " + self._one_of(*SCALARS).replace("{n}", str(self._number())) + self._end()
