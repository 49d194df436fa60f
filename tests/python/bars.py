"""What progress bars do, for tests of what shows them."""

from rich.progress import Progress


def record_advances(monkeypatch):
    """Return a list that grows by the weight of each move of any bar."""
    weights = []
    advance = Progress.advance

    def recorded(self, task, weight=1):
        weights.append(weight)
        advance(self, task, weight)

    monkeypatch.setattr(Progress, "advance", recorded)
    return weights


def shown(captured):
    """Return what was drawn, without spaces; all of it belongs on the standard error output."""
    assert captured.out == ""
    return captured.err.replace(" ", "")
