# A user publishes port 80.
options=(-p 80:80)
run true
