"""The option of the parity tests: another folder of fixtures."""


def pytest_addoption(parser):
    group = parser.getgroup("parity")
    group.addoption("--parity-root", default=None, metavar="DIR", help="folder of fixtures, one sub-folder a family")
