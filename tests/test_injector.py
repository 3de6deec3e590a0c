"""An injector's settings are checked when they are made, and an error names the setting."""

import msgspec
import pytest

from tiergate_sidecar.injector import Injector, InvalidSettingError, check


def test_an_image_is_all_that_must_be_said():
    settings = Injector(image="tiergate:1")
    assert (settings.mode, settings.config, settings.secret) == ("native", "tiergate", "")
    assert (settings.port, settings.admin_port, settings.run_as_user) == (4190, 4191, 65532)


@pytest.mark.parametrize(
    "setting",
    [
        {"image": ""},
        {"image": "Tiergate"},
        {"mode": ""},
        {"mode": "Native"},
        {"config": ""},
        {"config": "a/b"},
        {"secret": "a_b"},
        {"port": 1023},
        {"port": 65536},
        {"port": 4192},
        {"port": 4191},
        {"admin_port": 4192},
        {"admin_port": 0},
        {"run_as_user": 0},
        {"run_as_user": -1},
        {"run_as_user": 2**31},
        {"log_level": "trace"},
        {"stream_failover": "on"},
        {"cpu_request": ""},
        {"cpu_request": "0"},
        {"cpu_request": "100u"},
        {"cpu_limit": "half"},
        {"cpu_limit": "49m"},
        {"memory_request": ""},
        {"memory_request": "128m"},
        {"memory_limit": "1048575"},
        {"memory_limit": "127Mi"},
    ],
)
def test_a_value_that_no_sidecar_can_have_is_refused_by_its_name(setting):
    (name,) = setting
    with pytest.raises(InvalidSettingError, match=f"^{name} is ") as caught:
        Injector(**({"image": "tiergate:1"} | setting))
    assert caught.value.setting == name
    assert str(caught.value) == f"{name} {caught.value.reason}"


@pytest.mark.parametrize(
    "setting",
    [
        {"mode": "classic"},
        {"secret": "keys"},
        {"port": 1024, "admin_port": 65535},
        {"port": 4191, "admin_port": 4190},
        {"run_as_user": None},
        {"run_as_user": 2**31 - 1},
        {"log_level": "warning", "stream_failover": "buffered"},
        {"cpu_limit": "50m", "memory_limit": "128Mi"},
        {"memory_limit": ""},
    ],
)
def test_a_value_at_the_edge_is_taken(setting):
    settings = Injector(image="tiergate:1", **setting)
    assert msgspec.structs.asdict(settings).items() >= setting.items()


def test_one_value_can_be_checked_alone():
    check("port", 4191)
    with pytest.raises(InvalidSettingError, match="port"):
        check("port", 1)
