/* Invert 8-bit patches: .npy records on standard input, one back for each on standard output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    static unsigned char start[10], header[1 << 16], part[1 << 16]; /* zeros, so that the header is a string */
    while (fread(start, 1, 10, stdin) == 10) { /* its last two bytes: how long the header is */
        size_t length = start[8] | start[9] << 8, left = 1, count;
        if (fread(header, 1, length, stdin) != length || !strstr((char *)header, "'|u1'"))
            return fputs("8-bit patches are needed\n", stderr), 1;
        for (char *size = strchr((char *)header, '('); *size != ')';) /* (patches, rows, columns[, channels]) */
            left *= strtoull(size + 1, &size, 10);
        fwrite(start, 1, 10, stdout), fwrite(header, 1, length, stdout);
        for (; left > 0; left -= count) {
            if ((count = fread(part, 1, left < sizeof part ? left : sizeof part, stdin)) == 0) return 1;
            for (size_t i = 0; i < count; i++) part[i] = 255 - part[i];
            fwrite(part, 1, count, stdout);
        }
        fflush(stdout); /* else the record may wait in a buffer, and both programs for each other */
        memset(header, 0, length);
    }
    return ferror(stdin) || ferror(stdout);
}
