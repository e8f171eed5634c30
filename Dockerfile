# duetime, its three designs and Flower; docker-compose.yml sets the command of each container.
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /opt/duetime
# All dependencies are wheels, so no compiler is needed. They are a layer of their own below the package.
COPY constraints.txt pyproject.toml README.md LICENSE ./
# The extra `all`, written out: what each of these adds to the one before it.
RUN python -c "import tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = [project['optional-dependencies'][name] for name in ('workers', 'servers', 'demo')]; \
print(*(it for it in sum(extras, project['dependencies']) if not it.startswith('duetime[')), sep='\n')" >requirements.txt \
    && pip install -c constraints.txt -r requirements.txt
COPY duetime duetime
COPY pull_worker pull_worker
COPY push_readmodel push_readmodel
COPY oban_style_queue oban_style_queue
RUN pip install --no-deps .

# A user without password and shell. Workers write their state and deliveries below the working directory.
RUN useradd --system --no-create-home --shell /usr/sbin/nologin duetime \
    && install -d -o duetime -g duetime /var/lib/duetime /var/lib/duetime/deliveries /var/lib/duetime/runs
USER duetime
WORKDIR /var/lib/duetime
CMD ["duetime", "--help"]
