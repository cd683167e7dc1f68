# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the shell scripts share. Sourced, after set -euo pipefail.

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# A git hook leaves variables that would lead git to another repository.
unset "${!GIT_@}"
me=${0##*/}

die() { echo "$me: $*" >&2; exit 1; }

# load_base NAME: the variables of bases/NAME
load_base() {
	[[ $1 != */* && -r $top/bases/$1 ]] ||
		die "no kernel base '$1'; there is: $(cd "$top/bases" && echo *)"
	# shellcheck source=bases/6.12
	. "$top/bases/$1"
}

# step LOG TEXT COMMAND...: one line with the time it took, all else in the log
step() {
	local log=$1 text=$2 start=$SECONDS status
	shift 2
	mkdir -p "${log%/*}"
	printf '%s (log: %s) ... ' "$text" "${log#"$top"/}" >&2
	# Not in a condition: there bash would ignore errors inside the command.
	set +e
	(set -e; "$@") > "$log" 2>&1
	status=$?
	set -e
	[ $status = 0 ] || {
		echo failed >&2
		tail -n 20 "$log" >&2
		exit 1
	}
	echo "$((SECONDS - start)) s" >&2
}
