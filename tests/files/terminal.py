"""Runs a bash script in a real terminal, and types KEYS again and again until it ends: terminal.py KEYS SCRIPT"""
import fcntl, os, pty, select, struct, sys, termios, time

keys, script = sys.argv[1].encode(), sys.argv[2]
pid, terminal = pty.fork()
if pid == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    os.execvp("bash", ["bash", "-eo", "pipefail", script])
typed = time.monotonic()
while True:
    if select.select([terminal], [], [], 0.2)[0]:
        try:
            printed = os.read(terminal, 65536)
        except OSError:  # the last program has closed it
            break
        if not printed:
            break
        os.write(1, printed)
    if keys and time.monotonic() - typed > 0.5:
        os.write(terminal, keys)
        typed = time.monotonic()
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
