"""What an API server checks of a pod beyond its schema, and the restricted Pod Security Standard.

Each rule yields sentences about what breaks it; none means that the pod keeps it. From the API
server's validation (names, quantities, unique names, references) and from the page Pod Security
Standards. The pods are dictionaries whose shape a schema has checked.
"""

import re

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
DNS_SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")
PORT_NAME = re.compile(r"(?=.{1,15}$)(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?")
QUALIFIED_NAME = re.compile(r"([a-zA-Z0-9]|[a-zA-Z0-9][-\w.]{0,61}[a-zA-Z0-9])", re.ASCII)
QUANTITY = re.compile(
    r"([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))(?:([KMGTPE]i|[numkMGTPE])|[eE]([+-]?[0-9]+))?"
)
UNITS = {
    **{
        unit: 10.0**power
        for unit, power in zip("numkMGTPE", (-9, -6, -3, 3, 6, 9, 12, 15, 18), strict=True)
    },
    **{f"{unit}i": 2.0 ** (10 * power) for power, unit in enumerate("KMGTPE", start=1)},
}

RESTRICTED_VOLUMES = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
}

# Of an init container that does not keep running.
NOT_FOR_INIT = ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle")


def amount(quantity):
    """In cores or bytes; None for what is no quantity."""
    match = QUANTITY.fullmatch(str(quantity))
    if match is None:
        return None
    number, unit, exponent = match.groups()
    return float(number) * (UNITS[unit] if unit else 10.0 ** int(exponent or 0))


def containers(spec):
    """Both kinds."""
    return [*(spec.get("initContainers") or []), *(spec.get("containers") or [])]


def broken(pod):
    """Every rule of the API server over a pod or a pod's template."""
    spec = pod["spec"]
    yield from broken_names(pod)
    yield from broken_ports(spec)
    yield from broken_references(spec)
    yield from broken_resources(spec)
    yield from broken_init(spec)


def broken_names(pod):
    spec = pod["spec"]
    names = [each["name"] for each in containers(spec)]
    volumes = [each["name"] for each in spec.get("volumes") or []]
    for what, given in (("container", names), ("volume", volumes)):
        yield from (f"{what} {name}: no DNS label" for name in given if not _is_label(name))
        yield from (f"{what} {name}: twice" for name in set(given) if given.count(name) > 1)
    for key in (pod.get("metadata") or {}).get("annotations") or {}:
        prefix, slash, name = key.rpartition("/")
        if not QUALIFIED_NAME.fullmatch(name) or (slash and not is_object_name(prefix)):
            yield f"annotation {key}: no qualified name"
    for each in containers(spec):
        variables = [entry["name"] for entry in each.get("env") or []]
        for name in set(variables):
            if variables.count(name) > 1:
                yield f"container {each['name']}: {name} twice"


def broken_ports(spec):
    """Two containers with one port only warn in the API server; here they are a mistake."""
    numbers, names = [], []
    for each in containers(spec):
        for port in each.get("ports") or []:
            numbers.append((port["containerPort"], port.get("protocol", "TCP")))
            names += [port["name"]] if "name" in port else []
    for number, protocol in numbers:
        if not 1 <= number <= 65535:
            yield f"port {number}: out of range"
        if numbers.count((number, protocol)) > 1:
            yield f"port {number}: twice"
    for name in names:
        if not PORT_NAME.fullmatch(name):
            yield f"port {name}: no name of a service"
        if names.count(name) > 1:
            yield f"port {name}: twice"


def broken_references(spec):
    volumes = {each["name"]: each for each in spec.get("volumes") or []}
    for name, volume in volumes.items():
        for kind, key in (("configMap", "name"), ("secret", "secretName")):
            if kind in volume and not is_object_name(volume[kind][key]):
                yield f"volume {name}: no name of a {kind}"
    for each in containers(spec):
        folders = [mount["mountPath"] for mount in each.get("volumeMounts") or []]
        for mount in each.get("volumeMounts") or []:
            if mount["name"] not in volumes:
                yield f"container {each['name']}: no volume {mount['name']}"
            if folders.count(mount["mountPath"]) > 1:
                yield f"container {each['name']}: {mount['mountPath']} twice"
        names = {port["name"] for port in each.get("ports") or [] if "name" in port}
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            port = each.get(probe, {}).get("httpGet", {}).get("port", 1)
            if isinstance(port, str) and port not in names:
                yield f"container {each['name']}: {probe} asks at no port {port}"


def broken_resources(spec):
    for each in containers(spec):
        resources = each.get("resources") or {}
        requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
        for name, quantity in [*requests.items(), *limits.items()]:
            if amount(quantity) is None or amount(quantity) < 0:
                yield f"container {each['name']}: {name} {quantity!r} is no quantity"
            elif (
                name in requests
                and name in limits
                and amount(requests[name]) > amount(limits[name])
            ):
                yield f"container {each['name']}: more {name} requested than allowed"


def broken_init(spec):
    for each in spec.get("initContainers") or []:
        if each.get("restartPolicy") != "Always":
            for field in NOT_FOR_INIT:
                if field in each:
                    yield f"init container {each['name']}: {field} without restartPolicy Always"
    for each in spec.get("containers") or []:
        if "restartPolicy" in each:
            yield f"container {each['name']}: restartPolicy"


def broken_restricted(spec):
    """The restricted Pod Security Standard over a whole pod."""
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(field):
            yield f"the pod has {field}"
    for volume in spec.get("volumes") or []:
        for kind in set(volume) - {"name"} - RESTRICTED_VOLUMES:
            yield f"volume {volume['name']}: {kind}"
    for each in containers(spec):
        yield from broken_restricted_container(each, spec.get("securityContext") or {})


def broken_restricted_container(container, pod_context=()):
    """The same over one container; without the pod's context it must keep the rules by itself."""
    name, own = container["name"], container.get("securityContext") or {}
    context = {**dict(pod_context), **own}
    if own.get("allowPrivilegeEscalation") is not False:
        yield f"container {name}: privileges may grow"
    if own.get("privileged"):
        yield f"container {name}: privileged"
    capabilities = own.get("capabilities") or {}
    if capabilities.get("drop") != ["ALL"] and "ALL" not in (capabilities.get("drop") or []):
        yield f"container {name}: keeps capabilities"
    if set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield f"container {name}: adds capabilities"
    if context.get("runAsNonRoot") is not True:
        yield f"container {name}: may be root"
    if context.get("runAsUser") == 0:
        yield f"container {name}: is root"
    if (context.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
        yield f"container {name}: no seccomp profile"
    for port in container.get("ports") or []:
        if port.get("hostPort"):
            yield f"container {name}: a port of the host"


def is_object_name(name):
    return len(name) <= 253 and DNS_SUBDOMAIN.fullmatch(name) is not None


def _is_label(name):
    return DNS_LABEL.fullmatch(name) is not None
