"""Who may write a session, as a table that the rule in Python and the one in Lua both obey."""

from tiergate.sessions import Session

LOW = Session("p1", "m1", "simple", 1)
MIDDLE = Session("p1", "m2", "moderate", 1)
MIDDLE_OF_OTHER = Session("p2", "m2", "moderate", 1)
MIDDLE_OTHER_MODEL = Session("p1", "m3", "moderate", 1)
HIGH = Session("p2", "m9", "complex", 1)
LATER = Session("p1", "m2", "moderate", 9)
LOWER_THERE = Session("p1", "m2", "simple", 1)

RULE = [
    ("nobody yet", None, LOW, None, True),
    ("gone since it was read", None, LOW, MIDDLE, True),
    ("a higher tier, unread", LOW, HIGH, None, True),
    ("a higher tier, read", LOW, MIDDLE, LOW, True),
    ("a higher tier, another read", LOW, HIGH, MIDDLE, True),
    ("a lower tier, unread", HIGH, LOW, None, False),
    ("a lower tier, raised since it was read", HIGH, MIDDLE, LOW, False),
    ("a lower tier, though it was read", HIGH, MIDDLE, HIGH, False),
    ("the same tier, unread", MIDDLE, MIDDLE_OF_OTHER, None, False),
    ("the same tier, as read", MIDDLE, MIDDLE_OF_OTHER, MIDDLE, True),
    ("the same tier, bound again since", MIDDLE, MIDDLE_OTHER_MODEL, LATER, True),
    ("the same tier, another provider since", MIDDLE_OF_OTHER, MIDDLE_OTHER_MODEL, MIDDLE, False),
    ("the same tier, another model since", MIDDLE_OTHER_MODEL, MIDDLE_OF_OTHER, MIDDLE, False),
    ("the same tier, raised to it since", MIDDLE, MIDDLE_OF_OTHER, LOWER_THERE, False),
    ("the same session", MIDDLE, MIDDLE, MIDDLE, True),
]  # fmt: skip
"""What is held, what shall be written, what its writer had read, and whether it may."""
