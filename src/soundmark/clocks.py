"""stub"""


def began(path, *, timezone="UTC"):
    return None
