"""CEL as an admission policy has it, by Google's own compiler: what `k8s/policy` is tried on.

The types `Object.…` are made from Kubernetes' schema of a pod: a field that does not exist is an
error here as it is there. What this is not: an API server. Its cost limits, its rule that what
stands in a list or map literal is of one type, and its defaults for a patched pod are not here.
"""

import functools
import json
import re
from pathlib import Path

import kubernetes_validate
from cel_expr_python import cel
from google.protobuf import any_pb2, struct_pb2, wrappers_pb2
from google.protobuf.descriptor_pb2 import FieldDescriptorProto as Field
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict

SCHEMAS = Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
SCHEMA = "v1.36.0-local-strict/_definitions.json"
POD = "io.k8s.api.core.v1.Pod"

# A name of protobuf's cannot be that of a field and of a type: Object.spec.volumes is both.
SEPARATOR = "__"
DEEPEST = 6  # below it a field may hold anything

EXTENSIONS = """
name: kubernetes
extensions:
- name: two-var-comprehensions
- name: optional
- name: strings
"""


class Policy:
    """A MutatingAdmissionPolicy, or a ValidatingAdmissionPolicy; raises where it does not compile.

    A variable is known to those that follow it, and to the mutations, but to no condition.
    """

    def __init__(self, document):
        spec = document["spec"]
        self._known = {"object": cel.Type.DYN}
        self._conditions = [self._compiled(each["expression"]) for each in spec["matchConditions"]]
        self._variables = []
        for each in spec["variables"]:
            name = f"variables.{each['name']}"
            expression = self._compiled(each["expression"])
            self._variables.append((name, expression))
            self._known[name] = expression.return_type()
        self._mutations = [
            self._compiled(each["jsonPatch"]["expression"]) for each in spec.get("mutations", ())
        ]
        self._validations = [
            [self._compiled(each[key]) for key in ("expression", "messageExpression")]
            for each in spec.get("validations", ())
        ]

    def matches(self, pod):
        """Whether every condition holds; a condition that fails raises, as `Fail` refuses."""
        results = [_plain(each.eval(data={"object": pod})) for each in self._conditions]
        assert all(isinstance(each, bool) for each in results), results
        return all(results)

    def patches(self, pod):
        """A list of RFC 6902 operations for each mutation, all of them for this very pod."""
        data = self._data(pod)
        return [[_operation(each) for each in _plain(m.eval(data=data))] for m in self._mutations]

    def messages(self, pod):
        """Of the validations that do not hold."""
        data = self._data(pod)
        return [
            _plain(message.eval(data=data))
            for expression, message in self._validations
            if _plain(expression.eval(data=data)) is not True
        ]

    def _data(self, pod):
        data = {"object": pod}
        for name, expression in self._variables:
            data[name] = _plain(expression.eval(data=data))
        return data

    def _compiled(self, expression):
        named = re.sub(
            r"\bObject((?:\.\w+)+)\{", lambda match: match[0].replace(".", SEPARATOR), expression
        )
        environment = cel.NewEnv(
            types(),
            config=cel.NewEnvConfigFromYaml(EXTENSIONS),
            variables=self._known,
            functions=[ESCAPE_KEY],
        )
        return environment.compile(named)


def _escaped(key):
    return key.replace("~", "~0").replace("/", "~1")


ESCAPE_KEY = cel.FunctionDecl(
    "jsonpatch.escapeKey",
    [
        cel.Overload(
            "escape_key_string",
            return_type=cel.Type.STRING,
            parameters=[cel.Type.STRING],
            impl=_escaped,
        )
    ],
)


@functools.cache
def types():
    """`JSONPatch`, and a message of each object within a pod."""
    definitions = json.loads((SCHEMAS / SCHEMA).read_text())["$defs"]
    file = FileDescriptorProto(
        name="pod.proto",
        syntax="proto2",  # keeps a `false` that was said apart from silence
        dependency=["google/protobuf/struct.proto", "google/protobuf/any.proto"],
    )
    _add_message(file, definitions, POD, "Object")
    patch = file.message_type.add(name="JSONPatch")
    for number, name in enumerate(("op", "path", "from"), 1):
        patch.field.add(name=name, number=number, type=Field.TYPE_STRING, label=1)
    patch.field.add(name="value", number=4, type_name=".google.protobuf.Any", label=1, type=11)
    pool = DescriptorPool()
    for module in (struct_pb2, any_pb2, wrappers_pb2):
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool


def _add_message(file, definitions, name, path):
    message = file.message_type.add(name=path)
    for number, (key, schema) in enumerate(sorted(definitions[name]["properties"].items()), 1):
        field = message.field.add(name=key, number=number, json_name=key, label=1)
        if "items" in schema:
            field.label, schema = Field.LABEL_REPEATED, schema["items"]
        inner = schema.get("$ref", "").rpartition("/")[2]
        kinds = schema.get("type", "object")
        kind = kinds if isinstance(kinds, str) else kinds[0]
        if "properties" in definitions.get(inner, ()) and path.count(SEPARATOR) < DEEPEST:
            below = f"{path}{SEPARATOR}{key}"
            _add_message(file, definitions, inner, below)
            field.type, field.type_name = Field.TYPE_MESSAGE, f".{below}"
        elif kind in SCALARS:
            field.type = SCALARS[kind]
        else:  # a map, a quantity, a number or a name
            field.type, field.type_name = Field.TYPE_MESSAGE, ".google.protobuf.Value"


SCALARS = {
    "string": Field.TYPE_STRING,
    "integer": Field.TYPE_INT64,
    "boolean": Field.TYPE_BOOL,
    "number": Field.TYPE_DOUBLE,
}


def _plain(value):
    """A value as Python has it; raises what the expression ran into."""
    assert value.type() != cel.Type.ERROR, value.value()
    return value.plain_value()


def _operation(message):
    made = {"op": message.op, "path": message.path}
    if message.HasField("value"):
        content = MessageToDict(message.value, descriptor_pool=types())
        # Texts, lists and maps stand within a type of protobuf's own.
        own = content.pop("@type").partition("google.protobuf.")[2]
        made["value"] = _with_numbers(content["value"] if own else content)
    return made


def _with_numbers(value):
    """Protobuf's JSON writes an int64 as a text."""
    if isinstance(value, dict):
        return {k: int(v) if k in NUMBERS else _with_numbers(v) for k, v in value.items()}
    return [_with_numbers(each) for each in value] if isinstance(value, list) else value


NUMBERS = {"containerPort", "port", "periodSeconds", "failureThreshold", "runAsUser", "runAsGroup"}
