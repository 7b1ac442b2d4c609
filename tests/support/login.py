"""Provider of the credentials of the user `rotating`, which a test may let fail."""

from redis import CredentialProvider

PASSWORD = "s3/cr:t"
NAME = "support.login:Login"
RULES = ("on", f">{PASSWORD}", "~*", "&*", "+@all")


class Login(CredentialProvider):
    error = None

    def get_credentials(self):
        if Login.error:
            raise Login.error
        return "rotating", PASSWORD
