// SPDX-License-Identifier: GPL-2.0
/*
 * Print the results of the KUnit suites that ran at boot.
 */
#include <glob.h>
#include <stdio.h>

#define RESULTS	"/sys/kernel/debug/kunit/*/results"

int main(void)
{
	char line[1024];
	glob_t found;
	FILE *file;

	if (glob(RESULTS, 0, NULL, &found)) {
		printf("Bail out! no KUnit suite ran\n");
		return 1;
	}
	for (size_t i = 0; i < found.gl_pathc; i++) {
		file = fopen(found.gl_pathv[i], "r");
		if (!file) {
			printf("Bail out! cannot read %s\n", found.gl_pathv[i]);
			return 1;
		}
		while (fgets(line, sizeof(line), file))
			fputs(line, stdout);
		fclose(file);
	}
	return 0;
}
