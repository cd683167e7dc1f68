// SPDX-License-Identifier: GPL-2.0
/*
 * The tunables of page hinting take what is in their range and nothing else.
 * No device is needed for that.
 */
#include "page_hinting_util.h"

/* The least and the greatest value of a tunable. */
static void tunable_range(const char *name, unsigned long *min,
			  unsigned long *max)
{
	*min = 0;
	*max = 1;
	if (!strcmp(name, "order")) {
		*min = 4;
		*max = max_page_order();
	} else if (!strcmp(name, "min_age_ms")) {
		*max = 60000;
	} else if (!strcmp(name, "max_inflight_kb")) {
		*min = (getpagesize() / 1024) << max_page_order();
		*max = meminfo_bytes("MemTotal") / 1024;
	} else if (!strcmp(name, "capture_entries")) {
		*min = 4;
		*max = 65536;
	}
}

static bool refuses(const char *name, const char *text)
{
	unsigned long old = get_tunable(name);
	int err = write_tunable(name, text);

	if (err == -EINVAL && get_tunable(name) == old)
		return true;
	ksft_print_msg("%s: '%s': %s, now %lu\n", name, text,
		       err ? strerror(-err) : "taken", get_tunable(name));
	return false;
}

static bool takes(const char *name, unsigned long value)
{
	set_tunable(name, value);
	if (get_tunable(name) == value)
		return true;
	ksft_print_msg("%s: %lu became %lu\n", name, value, get_tunable(name));
	return false;
}

static bool check_range(const char *name)
{
	static const char * const bad[] = {
		"\n", " ", "x", "-1", "99999999999999999999",
	};
	unsigned long min, max;
	bool good = true;
	char text[32];
	size_t i;

	tunable_range(name, &min, &max);
	for (i = 0; i < ARRAY_SIZE(bad); i++)
		good &= refuses(name, bad[i]);
	snprintf(text, sizeof(text), "%lu", max + 1);
	good &= refuses(name, text);
	if (min) {
		snprintf(text, sizeof(text), "%lu", min - 1);
		good &= refuses(name, text);
	}
	good &= takes(name, min);
	good &= takes(name, max);
	return good;
}

static bool check_read_only(const char *name)
{
	int err = write_tunable(name, "0");

	if (err == -EACCES)
		return true;
	ksft_print_msg("%s: writing: %s\n", name, strerror(-err));
	return false;
}

int main(void)
{
	struct tunables saved;
	const char *name;
	size_t i;

	ksft_print_header();
	require_tunables();
	ksft_set_plan(ARRAY_SIZE(tunable_names) + 2);
	save_tunables(&saved);
	for (i = 0; i < ARRAY_SIZE(tunable_names); i++) {
		name = tunable_names[i];
		ksft_test_result(check_range(name), "%s keeps to its range\n",
				 name);
		restore_tunables(&saved);
	}
	ksft_test_result(check_read_only("inflight_kb"),
			 "inflight_kb is read-only\n");
	ksft_test_result(check_read_only("age_ms"), "age_ms is read-only\n");
	ksft_finished();
}
