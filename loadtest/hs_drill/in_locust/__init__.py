"""Our side in Locust's own processes: alone, master or worker. gevent has patched them: nothing here imports trio."""
