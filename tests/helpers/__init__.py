"""What tests share: inputs, references, servers, shells, machines that lack something."""
