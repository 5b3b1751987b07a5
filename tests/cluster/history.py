"""The names under which the cluster's tests know buyers, what they were told, and the check of that."""

from flash.testing.crowd import Crowd as Crowd
from flash.testing.history import History as History
from flash.testing.verification import rows as rows
from flash.testing.verification import verify as verify
