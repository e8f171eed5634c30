pytest_plugins = ["duetime.testing"]
