# duetime, its three designs and Flower; docker-compose.yml says which of them a container is.
FROM python:3.12-slim

ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1

WORKDIR /opt/duetime
# Everything comes as wheels: no compiler. The package itself last, so that the rest is built once.
COPY constraints.txt pyproject.toml README.md LICENSE ./
RUN python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" >requirements.txt \
    && pip install -c constraints.txt -r requirements.txt
COPY duetime duetime
COPY pull_worker pull_worker
COPY push_readmodel push_readmodel
COPY oban_style_queue oban_style_queue
RUN pip install --no-deps .

# A user without a password or a shell. Each server's state and deliveries are written where it starts.
RUN useradd --system --no-create-home --shell /usr/sbin/nologin duetime \
    && install -d -o duetime -g duetime /var/lib/duetime /var/lib/duetime/deliveries /var/lib/duetime/runs
USER duetime
WORKDIR /var/lib/duetime
CMD ["duetime", "--help"]
