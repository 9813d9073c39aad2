#!/bin/sh
# Cleans up after a test process that could not: it reads the server's pid from a pipe, and when the pipe
# closes without a "done" (a crash, SIGKILL, an interrupted run) it ends the server and removes its folder.
# Usage: guardian.sh FOLDER, with lines "pid N", "pid" (the server is down) and "done" on stdin.
trap '' HUP INT TERM

folder=$1
pid=
while read -r word value; do
  case $word in
    pid) pid=$value ;;
    done) exit 0 ;;
  esac
done

if [ -n "$pid" ]; then
  # SIGQUIT is PostgreSQL's immediate shutdown, which takes its backends along; MariaDB and MySQL shut down in order.
  kill -QUIT "$pid" 2>/dev/null
  tries=0
  while kill -0 "$pid" 2>/dev/null && [ "$tries" -lt 50 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
  kill -KILL "$pid" 2>/dev/null
fi

# Again and again: the program that was filling the folder may still be about it.
for _ in 1 2 3 4 5 6 7 8 9 10; do
  rm -rf "$folder"
  sleep 0.2
done
